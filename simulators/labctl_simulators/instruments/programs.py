"""Programs of other people, a sound server or a display, that stand in for hardware."""

import subprocess

END_S = 5.0


def end(process: subprocess.Popen[bytes]) -> None:
    """End `process`; kill it when it does not heed, as happens to a display while it starts."""
    process.terminate()
    try:
        process.wait(END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()

"""Air as microwaves meet it: its refractive index.

Formulas and coefficients of Recommendation ITU-R P.453-14, *The radio refractive index*, annex 1.
"""

import math
from dataclasses import dataclass

PRESSURE_HPA = 1013.25


@dataclass(frozen=True)
class Air:
    """Air at sea level, whose water vapour presses with `vapour_hpa`."""

    temperature_c: float
    vapour_hpa: float

    @classmethod
    def humid(cls, temperature_c: float, humidity: float) -> "Air":
        """Return air of a relative humidity between 0 and 1."""
        return cls(temperature_c, humidity * _saturation_hpa(temperature_c))

    def brought_to(self, temperature_c: float) -> "Air":
        """Return the same air at another temperature: it keeps its water, but for what condenses."""
        return Air(temperature_c, min(self.vapour_hpa, _saturation_hpa(temperature_c)))

    @property
    def refractive_index(self) -> float:
        """Return 1 + 10⁻⁶ (77.6 P_d/T + 72 e/T + 3.75 · 10⁵ e/T²), with dry pressure and vapour pressure in hPa."""
        kelvin = self.temperature_c + 273.15
        dry = 77.6 * (PRESSURE_HPA - self.vapour_hpa) / kelvin
        wet = 72.0 * self.vapour_hpa / kelvin + 3.75e5 * self.vapour_hpa / kelvin**2
        return 1.0 + 1e-6 * (dry + wet)


def _saturation_hpa(temperature_c: float) -> float:
    """Return 6.1121 exp((18.678 - t/234.5) t / (t + 257.14)), over water."""
    return 6.1121 * math.exp((18.678 - temperature_c / 234.5) * temperature_c / (temperature_c + 257.14))

"""The linear baseline: logistic regression on the raw features."""

# scikit-learn has no type stubs.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

import numpy as np
from numpy.typing import NDArray

STRENGTHS = (0.01, 0.1, 1.0, 10.0)
FOLDS = 5


def predict_linearly(
    features: NDArray[np.float32], labels: NDArray[np.int64], unseen: NDArray[np.float32]
) -> NDArray[np.int64]:
    """Return the classes (m,) that a logistic regression on `features` (n, d) gives to `unseen` (m, d).

    Features are standardised; the regularisation is chosen by 5-fold cross-validation on the training samples.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    folds = min(FOLDS, int(np.bincount(labels).min()))
    search = GridSearchCV(model, {"logisticregression__C": STRENGTHS}, cv=max(folds, 2))
    search.fit(features, labels)
    return np.asarray(search.predict(unseen), dtype=np.int64)

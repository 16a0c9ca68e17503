"""Linear models of data and of physics that baselines are made of."""

# scikit-learn has no type stubs.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

import numpy as np
from numpy.typing import NDArray

STRENGTHS = (0.01, 0.1, 1.0, 10.0)
FOLDS = 5

WELL_DETERMINED = 10
"""Rows for each input from which on least squares needs no help."""

RIDGES = np.logspace(-6, 4, 11)


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


def fit_affine(
    drives: NDArray[np.floating], responses: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return A (n_inputs, n_outputs) and b (n_outputs,) of the map s = d A + b that predicts best.

    `drives` are (n, n_inputs), `responses` (n, n_outputs). With few rows for each input least squares would learn the
    rounding of the drives by heart: then ridge regression it is, its strength chosen by leaving out single rows.
    """
    n_rows, n_inputs = drives.shape
    if n_rows < WELL_DETERMINED * n_inputs:
        from sklearn.linear_model import RidgeCV

        ridge = RidgeCV(alphas=RIDGES).fit(drives.astype(np.float64), responses.astype(np.float64))
        return np.asarray(ridge.coef_, np.float64).T, np.asarray(ridge.intercept_, np.float64)
    affine = np.column_stack([drives.astype(np.float64), np.ones(n_rows)])
    matrix, *_ = np.linalg.lstsq(affine, responses.astype(np.float64), rcond=None)
    precise = matrix.astype(np.float64)
    return precise[:-1], precise[-1]

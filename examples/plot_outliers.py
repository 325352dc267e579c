"""
Outliers, alarms and which feature is to blame
==============================================

``AutoencoderOutlierDetector`` fits an autoencoder to rows most of which are normal, and
finds rows that are unlike them. Two distances are compared with those of rows that the
autoencoder has not seen: that of a row from its reconstruction, and that of its code from
the codes of other rows. The comparison tells how rare a row is.

Here the normal rows are measurements of cells from benign tumours of the breast. Cells from
malignant tumours are the outliers that we want to find.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control
from sklearn.datasets import load_breast_cancer
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split

from skae import AutoencoderOutlierDetector
from skae.plotting import OutlierDisplay

# %%
# The detector is fitted to half of the benign rows. All other rows are new to it.

X, y = load_breast_cancer(return_X_y=True, as_frame=True)
benign, malignant = X[y == 1], X[y == 0]
X_train, X_benign = train_test_split(benign, train_size=0.5, random_state=0)
detector = AutoencoderOutlierDetector(random_state=0).fit(X_train)
print(f"{detector.estimator_.n_components_} components for {X.shape[1]} features")

# %%
# Scores
# ------
# ``score_samples`` is higher for normal rows, as in every detector of scikit-learn. The
# area under the ROC curve tells how well it divides the two kinds of rows.
# ``examples/benchmarks`` compares it with other detectors on twelve sets of data.

is_malignant = np.repeat([0, 1], [len(X_benign), len(malignant)])
X_new = pd.concat([X_benign, malignant])
area = roc_auc_score(is_malignant, -detector.score_samples(X_new))
print(f"area under the ROC curve: {area:.3f}")

# %%
# Alarms with a known rate
# ------------------------
# A p value is the share of training rows that are at least as unlike the others, each
# scored by a network that has not seen it. Of benign rows, about 5 % have a p value of at
# most 0.05: this many false alarms are to be expected.

p_benign, p_malignant = detector.p_values(X_benign), detector.p_values(malignant)
print(f"benign rows with p <= 0.05: {(p_benign <= 0.05).mean():.1%}")
print(f"malignant rows with p <= 0.05: {(p_malignant <= 0.05).mean():.1%}")

# %%
# If many rows are tested at once, the procedure of Benjamini and Hochberg keeps the share
# of false ones among the alarms below a level, here 10 %.

p = np.concatenate([p_benign, p_malignant])
is_alarm = false_discovery_control(p) <= 0.1
n_false = is_alarm[: len(p_benign)].sum()
print(f"{is_alarm.sum()} alarms, of which {n_false} are false")

# %%
# Which feature is to blame
# -------------------------
# ``contributions`` divides the score of a row among the features. The display shows both
# distances of every row with the limit of the alarms, and the largest contributions to the
# score of one row. High up are rows whose features do not go together as they do in
# the training rows; far to the right are rows that follow the same rules, but at a place
# where there were no training rows.

contributions = detector.contributions(malignant)
print(contributions.idxmax(axis=1).value_counts().head(3))
OutlierDisplay.from_estimator(detector, X_new, row=len(X_benign) + 4)
plt.show()

"""Estimate variances by a Kalman filter that fills its arrays in place: the annual flow of the Nile, 1871 to 1970.

The filter is written as in any textbook, ``means[t] = ...`` into ``np.zeros(...)``; the likelihood is the prediction
error decomposition.  The data and the local level model are those of Durbin & Koopman, *Time Series Analysis by State
Space Methods*, chapter 2, whose estimates are 15,099 for the observations and 1,469 for the level.
"""

import numpy as np
from scipy.optimize import minimize

import wengert as wg

NILE = np.fromstring(
    """
1120 1160 963 1210 1160 1160 813 1230 1370 1140 995 935 1110 994 1020 960 1180 799 958 1140 1100 1210 1150 1250 1260
1220 1030 1100 774 840 874 694 940 833 701 916 692 1020 1050 969 831 726 456 824 702 1120 1100 832 764 821
768 845 864 862 698 845 744 796 1040 759 781 865 845 944 984 897 822 1010 771 676 649 846 812 742 801
1040 860 874 848 890 744 749 838 1050 918 986 797 923 975 815 1020 906 901 1170 912 746 919 718 714 740
""",
    sep=" ",
)


def kalman_filter(y, F, H, Q, r, mean, cov):
    """Filter observations; return means and covariances of the predicted states, and the log-likelihood."""
    n, k = len(y), len(mean)
    means, covs = np.zeros((n + 1, k)), np.zeros((n + 1, k, k))
    terms = np.zeros(n)
    means[0], covs[0] = mean, cov
    for t in range(n):
        error = y[t] - H @ means[t]
        spread = H @ covs[t] @ H + r
        gain = F @ covs[t] @ H / spread
        terms[t] = -0.5 * (np.log(2 * np.pi * spread) + error**2 / spread)
        means[t + 1] = F @ means[t] + gain * error
        covs[t + 1] = F @ covs[t] @ F.T - np.outer(gain, gain) * spread + Q
    terms[0] = 0.0  # the first observation only says where the level starts
    return means, covs, np.sum(terms)


def local_level(log_variances, y):
    """Minus the log-likelihood of a level that wanders, observed with noise."""
    r, q = np.exp(log_variances)
    one = np.eye(1)
    return -kalman_filter(y, one, one[0], q * one, r, np.array([0.0]), np.array([[1e7]]))[2]


def local_trend(log_variances, slope, y):
    """Minus the log-likelihood of a level with a slope that wanders too."""
    r, q_level, q_slope = np.exp(log_variances)
    F, H = np.array([[1.0, 1.0], [0.0, 1.0]]), np.array([1.0, 0.0])
    Q = np.zeros((2, 2))
    Q[0, 0], Q[1, 1] = q_level, q_slope
    return -kalman_filter(y, F, H, Q, r, np.array([y[0], slope]), np.diag([2.0, 0.5]))[2]


def problem(count=12):
    """Return a function, its arguments, and the positions to differentiate with respect to."""
    y = np.resize(NILE, count) / 100
    return local_trend, (np.array([0.3, -0.6, -1.5]), -0.2, y), (0, 1, 2)


def main(iterations=40):
    gradient = wg.value_and_grad(local_level)
    start = np.log([10000.0, 10000.0])
    fit = minimize(gradient, start, NILE, jac=True, method="BFGS", options={"maxiter": iterations})
    r, q = np.exp(fit.x)
    print(f"log-likelihood {-fit.fun:.2f} after {fit.nit} steps")
    print(f"variance of the observations {r:9,.0f}    (Durbin & Koopman: 15,099)")
    print(f"variance of the level        {q:9,.0f}    (Durbin & Koopman:  1,469)\n")
    one = np.eye(1)
    means, covs, _ = kalman_filter(NILE, one, one[0], q * one, r, np.array([0.0]), np.array([[1e7]]))
    for t in range(3, len(NILE), 6):
        level, deviation = means[t, 0], np.sqrt(covs[t, 0, 0])
        bar = " " * int((level - 600) / 12) + "o"
        print(f"{1871 + t}  flow {NILE[t]:5.0f}  predicted {level:5.0f} +- {deviation:3.0f}  |{bar}")


if __name__ == "__main__":
    main()

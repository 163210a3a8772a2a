"""Price options and their greeks: every sensitivity of a portfolio of calls and puts from the pricing formula alone.

Black & Scholes (1973).  The first greeks (delta, vega, rho, theta) of the whole portfolio are one gradient; gamma and
vanna are derivatives of derivatives.  The formulas known for them are printed beside.
"""

import numpy as np
from scipy.special import erf

import wengert as wg


def normal_cdf(x):
    return 0.5 * (1.0 + erf(x / np.sqrt(2.0)))


def price(spot, volatility, rate, time, strike, is_call):
    """Price European options, one for each strike; `time` is that left, in years."""
    total = volatility * np.sqrt(time)
    d1 = (np.log(spot / strike) + (rate + 0.5 * volatility**2) * time) / total
    d2 = d1 - total
    discounted = strike * np.exp(-rate * time)
    call = spot * normal_cdf(d1) - discounted * normal_cdf(d2)
    put = discounted * normal_cdf(-d2) - spot * normal_cdf(-d1)
    return np.where(is_call, call, put)


def portfolio(spot, volatility, rate, time, strike, is_call, held):
    """Value of a portfolio; `held` says how many of each option."""
    return np.sum(held * price(spot, volatility, rate, time, strike, is_call))


def problem(count=8):
    """Return a function, its arguments, and the positions to differentiate with respect to."""
    rng = np.random.default_rng(0)
    options = np.linspace(80.0, 125.0, count), np.arange(count) % 3 > 0, rng.normal(size=count)
    return portfolio, (100.0, rng.uniform(0.15, 0.3, count), 0.03, rng.uniform(0.2, 2.0, count), *options), (0, 1, 2, 3)


def main(iterations=6):
    spot, volatility, rate, time = 100.0, 0.25, 0.03, 0.5
    strike = np.linspace(80.0, 120.0, max(2, iterations))
    is_call = np.full(strike.shape, True)

    def prices(spot, volatility, rate, time):
        return price(spot, volatility, rate, time, strike, is_call)

    delta, vega, rho, theta = wg.jacobian(prices, (0, 1, 2, 3))(spot, volatility, rate, time)
    gamma = wg.jacobian(wg.jacobian(prices))(spot, volatility, rate, time)
    vanna = wg.jacobian(wg.jacobian(prices), 1)(spot, volatility, rate, time)

    total = volatility * np.sqrt(time)
    d1 = (np.log(spot / strike) + (rate + 0.5 * volatility**2) * time) / total
    density = np.exp(-0.5 * d1**2) / np.sqrt(2 * np.pi)
    known = {"gamma": density / (spot * total), "vanna": -density * (d1 - total) / volatility}
    greeks = {"price": prices(spot, volatility, rate, time), "delta": delta, "vega": vega, "rho": rho, "theta": -theta}
    greeks |= {"gamma": gamma, "(formula)": known["gamma"], "vanna": vanna, "(formula) ": known["vanna"]}
    print("strike  " + "".join(f"{name.strip():>11}" for name in greeks))
    for k, level in enumerate(strike):
        print(f"{level:6.1f}  " + "".join(f"{values[k]:11.5f}" for values in greeks.values()))

    function, args, argnums = problem(500)
    spot_delta, vegas, portfolio_rho, _ = wg.grad(function, argnums)(*args)
    print(f"\na portfolio of {len(args[4])} options worth {function(*args):.2f}: delta {spot_delta:.3f},")
    print(f"rho {portfolio_rho:.2f} and {len(vegas)} vegas, the largest {np.max(np.abs(vegas)):.2f}, all from one pass")


if __name__ == "__main__":
    main()

"""The yardstick: the least GPU-hours for a known demand, and the schedule that spends them."""

//! podcov-signal and podcov-collect on every kind of pod.

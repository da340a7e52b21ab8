//! libFuzzer on [`podcov_fuzz::gomod`].

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| podcov_fuzz::gomod(bytes));

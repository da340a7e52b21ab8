//! libFuzzer on [`podcov_fuzz::diff`].

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| podcov_fuzz::diff(bytes));

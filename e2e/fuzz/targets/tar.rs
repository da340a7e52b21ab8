//! libFuzzer on [`podcov_fuzz::tar`].

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| podcov_fuzz::tar(bytes));

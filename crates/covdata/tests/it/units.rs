//! Units of all sizes, as they are written and read.

use covdata::{Granularity, MetaFile, Mode, PackageBuilder, Unit, meta_file};
use proptest::prelude::*;

fn unit([start_line, start_column, end_line, end_column, statements]: [u32; 5]) -> Unit {
    Unit { start_line, start_column, end_line, end_column, statements }
}

/// Reads a package with these functions: for each, whether it is a literal, and its units.
fn with_package<R>(functions: &[(bool, Vec<Unit>)], read: impl FnOnce(&covdata::Package<'_>) -> R) -> R {
    let mut builder = PackageBuilder::new("p", "m/p", "m");
    for (literal, units) in functions {
        builder.add("f", "m/p/a.go", *literal, units.iter().copied());
    }
    let bytes = builder.finish().expect("a small package");
    let (_, file) = meta_file(&[&bytes, &bytes], Mode::Count, Granularity::PerBlock);
    let file = MetaFile::parse(&file).expect("a meta-data file");
    read(&file.packages[1])
}

#[test]
fn units_in_bytes() {
    for (numbers, bytes) in [
        ([1, 2, 3, 4, 5], &[1, 2, 3, 4, 5][..]),
        ([300, 2, 301, 4, 5], &[0xac, 2, 2, 0xad, 2, 4, 5]),
        ([300, 2, 3, 4, 5], &[0xac, 2, 2, 3, 4, 5]),
        ([1, 2, 3, 4, 300], &[1, 2, 3, 4, 0xac, 2]),
        ([0x7fff, 0x80, 0x7fff, 0, 0], &[0xff, 0xff, 1, 0x80, 1, 0xff, 0xff, 1, 0, 0]),
    ] {
        with_package(&[(false, vec![unit([9; 5])]), (true, vec![unit(numbers)])], |package| {
            let function = package.functions().nth(1).expect("a function");
            assert_eq!(function.units_bytes(), bytes);
            assert_eq!(function.units().collect::<Vec<_>>(), [unit(numbers)]);
        });
    }
}

#[test]
fn places_are_in_order_of_lines_then_columns() {
    let place = unit([1, 2, 3, 4, 5]);
    assert_eq!((place.start(), place.end()), (1 << 32 | 2, 3 << 32 | 4));
}

#[test]
fn each_mode_and_granularity_is_read_as_it_was_written() {
    for mode in [Mode::Set, Mode::Count, Mode::Atomic, Mode::RegOnly, Mode::TestMain] {
        for granularity in [Granularity::PerBlock, Granularity::PerFunction] {
            let (hash, bytes) = meta_file(&[], mode, granularity);
            let file = MetaFile::parse(&bytes).expect("a meta-data file");
            assert_eq!((file.hash, file.mode, file.granularity), (hash, mode, granularity));
        }
    }
}

/// Numbers that take from one to five bytes.
fn number() -> impl Strategy<Value = u32> {
    prop_oneof![0..1_u32 << 7, 1_u32 << 7..1 << 14, any::<u32>()]
}

fn functions() -> impl Strategy<Value = Vec<(bool, Vec<Unit>)>> {
    let units =
        prop::collection::vec([number(), number(), number(), number(), number()].prop_map(unit), 0..6);
    prop::collection::vec((any::<bool>(), units), 0..5)
}

proptest! {
    #[test]
    fn a_package_is_read_as_it_was_written(functions in functions()) {
        with_package(&functions, |package| {
            let read: Vec<_> = package.functions().map(|f| (f.literal, f.units().collect::<Vec<_>>())).collect();
            prop_assert_eq!(&read, &functions);
            let counts: Vec<usize> = functions.iter().map(|(_, units)| units.len()).collect();
            prop_assert_eq!(package.unit_count(), counts.iter().sum::<usize>());
            for (number, count) in counts.iter().enumerate() {
                prop_assert_eq!(package.unit_count_of(number), Some(u32::try_from(*count).expect("few units")));
            }
            prop_assert_eq!(package.unit_count_of(counts.len()), None);
            Ok(())
        })?;
    }
}

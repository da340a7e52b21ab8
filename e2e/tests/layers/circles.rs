//! No modules of a crate use each other in a circle.

use fs_err as fs;

use crate::crates::roots;
use crate::modules::Modules;

#[test]
fn no_modules_use_each_other_in_a_circle() {
    for (package, root) in roots() {
        let circles = Modules::of_crate(&root).circles();
        assert!(circles.is_empty(), "{package}:\n{}", circles.join("\n"));
    }
}

/// The circles of a crate with these files, the first of which is its root.
fn circles(files: &[(&str, &str)]) -> Vec<String> {
    let dir = tempfile::tempdir().expect("a folder");
    fs::create_dir(dir.path().join("a")).expect("a folder of a module");
    for (name, text) in files {
        fs::write(dir.path().join(name), text).expect("a file");
    }
    Modules::of_crate(&dir.path().join(files[0].0)).circles()
}

#[test]
fn a_circle_is_found() {
    let root = ("lib.rs", "mod a;\nmod b;\npub use b::Thing;\nstruct Own;\nfn f() { b::g() }");
    for (a, b, circle) in [
        (
            "use crate::b::Thing;",
            "use crate::a::f;",
            "crate::a uses crate::b::Thing\ncrate::b uses crate::a::f",
        ),
        ("use super::b;", "fn f() { super::a::f() }", "crate::a uses super::b\ncrate::b uses super::a::f"),
        (
            "use crate::{b::{self, c::{d, e}, Thing as Other}, a};",
            "type A = crate::a::A;",
            "crate::a uses crate::b\ncrate::b uses crate::a::A",
        ),
        // By the name that the root passes on.
        ("use crate::Thing;", "use crate::a;", "crate::a uses crate::Thing\ncrate::b uses crate::a"),
    ] {
        assert_eq!(circles(&[root, ("a.rs", a), ("b.rs", b)]), [circle]);
    }
    // The root uses b, and b what is in the root.
    assert_eq!(
        circles(&[root, ("a.rs", ""), ("b.rs", "use crate::Own;")]),
        ["crate uses b::g\ncrate::b uses crate::Own"]
    );
    let nested =
        [("lib.rs", "mod a;"), ("a.rs", "mod c;\nuse c::C;\nstruct A;"), ("a/c.rs", "use super::A;")];
    assert_eq!(circles(&nested), ["crate::a uses c::C\ncrate::a::c uses super::A"]);
}

#[test]
fn what_is_no_circle() {
    let root = ("lib.rs", "mod a;\nmod b;\npub use a::A;\npub use b::B;");
    for (a, b) in [
        ("use crate::B;", ""),
        ("use crate::b;", "/// crate::a\nconst C: &str = \"crate::a\";"),
        ("use crate::b;", "#[cfg(test)]\nmod tests { use crate::a; }"),
        ("use crate::b;", "use other::a;"),
        ("use crate::b;", "fn f(a: A) -> impl Ord + use<> { 1 }"),
    ] {
        assert!(circles(&[root, ("a.rs", a), ("b.rs", b)]).is_empty(), "{a} {b}");
    }
}

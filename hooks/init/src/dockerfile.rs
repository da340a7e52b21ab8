//! A Dockerfile whose `go build` takes further flags from an argument.

/// The argument's name.
pub(crate) const ARGUMENT: &str = "GO_BUILD_FLAGS";

/// The text of a Dockerfile whose `go build` takes the argument. `None` if it runs none.
///
/// # Errors
/// Why it is not known where the argument belongs.
pub(crate) fn with_argument(text: &str) -> Result<Option<String>, String> {
    if text.contains(ARGUMENT) {
        return Err(format!("it has {ARGUMENT} already"));
    }
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let is_build = |line: &&str| !line.trim_start().starts_with('#') && line.contains("go build ");
    let mut builds = lines.iter().enumerate().filter(|(_, line)| is_build(line)).map(|(number, _)| number);
    let Some(build) = builds.next() else { return Ok(None) };
    if builds.next().is_some() || lines[build].matches("go build ").count() > 1 {
        return Err("it runs `go build` several times".to_owned());
    }
    // The instruction begins where no line before it goes on.
    let goes_on = |line: &str| line.trim_end().ends_with('\\');
    let mut start = build;
    while start > 0 && goes_on(lines[start - 1]) {
        start -= 1;
    }
    if !lines[start].trim_start().to_ascii_uppercase().starts_with("RUN") {
        return Err("its `go build` is in no RUN instruction".to_owned());
    }
    let mut edited: String = lines[..start].concat();
    edited.push_str(&format!("ARG {ARGUMENT}\n"));
    edited.push_str(&lines[start..build].concat());
    edited.push_str(&lines[build].replace("go build ", &format!("go build ${ARGUMENT} ")));
    edited.push_str(&lines[build + 1..].concat());
    Ok(Some(edited))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_build_takes_an_argument() {
        let text = "FROM golang AS build\nCOPY . .\nRUN --mount=type=cache,target=/root \\\n    CGO_ENABLED=0 go build -o /app .\nFROM scratch\n";
        let edited = "FROM golang AS build\nCOPY . .\nARG GO_BUILD_FLAGS\nRUN --mount=type=cache,target=/root \\\n    \
                      CGO_ENABLED=0 go build $GO_BUILD_FLAGS -o /app .\nFROM scratch\n";
        assert_eq!(with_argument(text), Ok(Some(edited.to_owned())));
        assert_eq!(with_argument("FROM nginx\n# go build .\n"), Ok(None));
        assert!(with_argument("RUN go build ./a\nRUN go build ./b\n").is_err());
        assert!(with_argument("RUN go build ./a && go build ./b\n").is_err());
        assert!(with_argument(edited).is_err());
    }
}

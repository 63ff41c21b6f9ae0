//! Tests of the stack traces of all languages.
//!
//! Promises: texts as the languages write them with what is expected of them, and texts that are no such thing.
//! Never: runs those languages.

use proptest::prelude::*;

use super::*;

/// `exception` as lines: type, message, then `label @ path : line`.
fn shown(language: &str, text: &str) -> Vec<String> {
    parse(language, text)
        .into_iter()
        .flat_map(|exception| {
            let head = format!("{}|{}", exception.kind, exception.message);
            let frames =
                exception.frames.into_iter().map(|frame| format!("{}@{}:{}", frame.label, frame.path, frame.line));
            std::iter::once(head).chain(frames).collect::<Vec<_>>()
        })
        .collect()
}

const JAVA: &str = "java.lang.IllegalStateException: state is not\n  legal\n\
    \tat java.base/shop.Web.handle(Web.java:42)\n\
    \tat app//shop.Web$Inner.<init>(Web.java)\n\
    \tat shop.Native.call(Native Method)\n\
    \tSuppressed: java.lang.Exception: closing\n\
    \t\tat shop.Closing.close(Closing.java:1)\n\
    \tCaused by: java.lang.Exception: inner\n\
    \t\tat shop.Inner.inner(Inner.java:1)\n\
    \t... 3 more\n\
    Caused by: java.io.IOException: gone: for good\nand more\n\
    \tat shop.Disk.read(Disk.java:7)\n\
    \t... 9 more\n\
    Caused by: java.lang.Error\n\
    \tat shop.Disk.open(Disk.java:8)\n";
const PYTHON: &str = "Traceback (most recent call last):\n  File \"/app/disk.py\", line 7, in read\n    code()\n\
    OSError: gone: for good\nand more\n\n\
    During handling of the above exception, another exception occurred:\n\n\
    Traceback (most recent call last):\n  File \"/app/a,b.py\", line 3, in <module>\n    x = f(1, 2)\n\
    \x20 File \"/app/web.py\", line 42, in handle\n    raise KeyError(\"File\")\nKeyError: 'x'\n\n\
    The above exception was the direct cause of the following exception:\n\n\
    Traceback (most recent call last):\n  File \"web.py\", line 44, in handle\n    raise ValueError() from error\n    ^^^^^\n\
    ValueError\n";
const JAVASCRIPT: &str = "TypeError: x is not a function\n\
    \x20   at handler (/app/web.js:10:5)\n\
    \x20   at async file:///app/main.mjs:3:1\n\
    \x20   at new Shop (file:///app/shop.mjs:4:2)\n\
    \x20   at Object.fn [as name] (C:\\app\\web.js:7:8)\n\
    \x20   at Array.map (<anonymous>)\n\
    \x20   at Array.forEach (native)\n\
    \x20   at node:internal/main:28:49\n\
    \x20   at web.js:5\n\
    nothing of a stack\n";
const DOTNET: &str = "System.Exception: x\n   at Shop.Web.Handle(String a, Int32 b) in C:\\src in\\Web.cs:line 42\n\
    \x20  at Shop.Web.<Run>b__0()\n--- End of stack trace from previous location ---\n   at nothing\n";
const GO: &str = "goroutine 1 [running]:\nmain.(*Shop).handle(0xc000010000, {0x1, 0x2})\n\t/src/web.go:42 +0x1d\n\
    created by net/http.(*Server).Serve in goroutine 7\n\t/usr/lib/go/server.go:3285 +0x4b4\nexit status 2\n";

#[test]
fn stack_traces_are_taken_apart_as_their_languages_write_them() {
    for (language, text, expected) in [
        (
            "java",
            JAVA,
            &[
                "|",
                "shop.Web.handle@Web.java:42",
                "/shop.Web$Inner.<init>@Web.java:0",
                "shop.Native.call@Native Method:0",
                "java.io.IOException|gone: for good\nand more",
                "shop.Disk.read@Disk.java:7",
                "java.lang.Error|",
                "shop.Disk.open@Disk.java:8",
            ][..],
        ),
        (
            "python",
            PYTHON,
            &[
                "|",
                "handle@web.py:44",
                "KeyError|'x'",
                "handle@/app/web.py:42",
                "<module>@/app/a,b.py:3",
                "OSError|gone: for good\nand more",
                "read@/app/disk.py:7",
            ],
        ),
        (
            "nodejs",
            JAVASCRIPT,
            &[
                "|",
                "handler@/app/web.js:10",
                "@file:///app/main.mjs:3",
                "new Shop@file:///app/shop.mjs:4",
                "Object.fn [as name]@C:\\app\\web.js:7",
                "Array.map@<anonymous>:0",
                "Array.forEach@native:0",
                "@node:internal/main:28",
                "@web.js:5",
            ],
        ),
        (
            "dotnet",
            DOTNET,
            &["|", "Shop.Web.Handle(String a, Int32 b)@C:\\src in\\Web.cs:42", "Shop.Web.<Run>b__0()@:0"],
        ),
        (
            "go",
            GO,
            &[
                "|",
                "main.(*Shop).handle(0xc000010000, {0x1, 0x2})@/src/web.go:42",
                "created by net/http.(*Server).Serve in goroutine 7@/usr/lib/go/server.go:3285",
            ],
        ),
        ("ruby", "a.rb:1:in `x'", &["|"]),
    ] {
        assert_eq!(shown(language, text), expected, "{language}");
    }
    assert_eq!(shown("javascript", JAVASCRIPT), shown("webjs", JAVASCRIPT));
    assert_eq!(shown("php", JAVA), shown("java", JAVA));
}

#[test]
fn what_is_no_stack_trace_gives_fewer_frames() {
    for text in [
        "",
        "\n",
        "\n\n\n",
        "at ",
        "\tat ",
        "Caused by: ",
        "x\nCaused by: Foo:",
        "x\nCaused by: \n",
        "x\nCaused by: Foo:\n",
    ] {
        for language in ["java", "python", "nodejs", "dotnet", "go", ""] {
            let parsed = parse(language, text);
            assert!(parsed.iter().all(|exception| exception.frames.is_empty()), "{language} {text:?}: {parsed:?}");
        }
    }
    assert_eq!(shown("java", "x\nCaused by: Foo:"), ["|", "Foo|"]);
    assert_eq!(
        shown("java", "x\nat a.b(\nat (x)\nat ()\nat a.b(C.java:999999999999)"),
        ["|", "@x:0", "@:0", "a.b@C.java:999999999999:0"]
    );
    assert_eq!(
        shown("python", "  File \"x\", line many, in f\n  File \"y\"\nFile \"z\", line 3"),
        ["|", "@z:3", "f@x:0"]
    );
    assert_eq!(shown("nodejs", "x\nat \u{e4}:\u{20ac}:1"), ["|", "@\u{e4}:\u{20ac}:1"]);
    let deep = "x\nCaused by: y\n".repeat(1_000) + &"\tat a.b(c:1)\n".repeat(10_000);
    let parsed = parse("java", &deep);
    assert_eq!(parsed.len(), EXCEPTIONS_MAX);
    let many = "\n at x:1:2".repeat(100_000);
    let many = parse("nodejs", &many);
    assert_eq!(many[0].frames.len(), FRAMES_MAX);
}

proptest! {
    #[test]
    fn property_any_text_is_taken_apart_within_the_bounds(
        lines in prop::collection::vec(prop::sample::select(vec![
            "Caused by: ", "a.B: c", "\tat ", "at x(y:1)", "(", ":", "\u{20ac}", "Suppressed: ", "... 3 more", "  File \"x\", line 1, in f",
            LINK, "goroutine ", "\t/x.go:3 +0x1", " in x:line 4", "    at f (", "\n", " ", "",
        ]), 0..60),
        glue in prop::sample::select(vec!["\n", "", "\r\n"]),
        language in prop::sample::select(vec!["java", "python", "nodejs", "dotnet", "go"]),
    ) {
        let text = lines.join(glue);
        let parsed = parse(language, &text);
        prop_assert!(!parsed.is_empty() && parsed.len() <= EXCEPTIONS_MAX);
        for exception in parsed {
            prop_assert!(exception.frames.len() <= FRAMES_MAX);
            prop_assert!(exception.message.len() <= text.len());
        }
    }
}

const LINK: &str = "During handling of the above exception, another exception occurred:";

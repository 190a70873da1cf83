use proptest::prelude::*;

use super::*;

const SCRIPT: Script<'static> = Script { base: "/chat/t/p", origins: "https://a.example" };
const TAG: &str = "<script src=\"/chat/t/p/.vestibule/shell.js\" data-part=\"shell\" \
                   data-origins=\"https://a.example\"></script>";

fn page(text: &str, slug: &str, name: &str) -> String {
    let (template, faults) = Template::parse(text);
    assert_eq!(faults, [], "{text}");
    let template = template.expect("it has no fault");
    let shell = template.shell(Named { slug, name }, Isolation::None, &SCRIPT);
    shell.with("/chat/").replace(TAG, "§")
}

fn frame() -> String {
    [FRAME_BEFORE, "/chat/", FRAME_AFTER].concat()
}

#[test]
fn tokens_become_what_they_stand_for() {
    let cases = [
        ("<body>{{RAGTIME_IFRAME}}</body>", "§<body>@</body>"),
        ("{{VESTIBULE_IFRAME}}", "§@"),
        (
            "<!doctype html>\n<!-- x --><html><head id=a>\n<p>{{RAGTIME_IFRAME}}",
            "<!doctype html>\n<!-- x --><html><head id=a>§\n<p>@",
        ),
        (
            "<!doctype html>\r\n<html>\r\n<head>\r\n<p>{{RAGTIME_IFRAME}}\r\n",
            "<!doctype html>\r\n<html>\r\n<head>§\r\n<p>@\r\n",
        ),
        (
            "<title>{{DEVICE_NAME}}</title>é{{RAGTIME_IFRAME}}",
            "§<title>&lt;b&gt;&quot;&#39;&amp;</title>é@",
        ),
        (
            "<p title='{{DEVICE_NAME}}' lang=\"{{DEVICE_SLUG}}\">{{RAGTIME_IFRAME}}",
            "§<p title='&lt;b&gt;&quot;&#39;&amp;' lang=\"lobby-1\">@",
        ),
        (
            "<a href=\"/kiosk/{{DEVICE_NAME}}\" >x</a><img src='{{DEVICE_SLUG}}.png'>{{RAGTIME_IFRAME}}",
            "§<a href=\"/kiosk/&lt;b&gt;&quot;&#39;&amp;\" >x</a><img src='lobby-1.png'>@",
        ),
        (
            "<!-- {{DEVICE_NAME}} {{RAGTIME_IFRAME}} -->{{RAGTIME_IFRAME}}",
            "<!-- {{DEVICE_NAME}} {{RAGTIME_IFRAME}} -->§@",
        ),
        ("{{{DEVICE_SLUG}}}{{other}} {{RAGTIME_IFRAME}}", "§{lobby-1}{{other}} @"),
        (
            "<template>{{DEVICE_SLUG}}</template><select><option>{{DEVICE_SLUG}}</select>{{RAGTIME_IFRAME}}",
            "§<template>lobby-1</template><select><option>lobby-1</select>@",
        ),
        (
            "<script>if (a<b) '{{mine}}'</script>{{RAGTIME_IFRAME}}",
            "§<script>if (a<b) '{{mine}}'</script>@",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(page(text, "lobby-1", "<b>\"'&"), expected.replace('@', &frame()), "{text}");
    }
}

#[test]
fn nothing_that_was_put_in_is_looked_at_again() {
    let name = "{{RAGTIME_IFRAME}}{{DEVICE_SLUG}}";
    let shown = page("{{DEVICE_NAME}}|{{RAGTIME_IFRAME}}", "{{DEVICE_NAME}}", name);
    assert_eq!(shown, format!("§{name}|{}", frame()));
}

#[test]
fn the_chats_address_stays_in_its_attribute() {
    let (template, _) = Template::parse("{{RAGTIME_IFRAME}}");
    let named = Named { slug: "", name: "" };
    let shell = template.unwrap().shell(named, Isolation::None, &SCRIPT);
    let page = shell.with("/chat/?a=1&b=\"><script>");
    assert!(page.contains("src=\"/chat/?a=1&amp;b=&quot;&gt;&lt;script&gt;\"></iframe>"), "{page}");
}

#[test]
fn the_plain_page_is_a_template() {
    let shown = page(PLAIN, "", "<sales>");
    assert!(shown.contains("<title>&lt;sales&gt;</title>"), "{shown}");
}

#[test]
fn what_stands_wrong_is_told_with_its_place() {
    let cases = [
        ("", "1:1: the chat has no place in it"),
        ("<p>{{DEVICE_NAME}}</p>", "1:1: the chat has no place in it"),
        ("<!-- {{RAGTIME_IFRAME}} -->", "1:1: the chat has no place in it"),
        (
            "{{RAGTIME_IFRAME}}\n {{VESTIBULE_IFRAME}}",
            "2:2: {{VESTIBULE_IFRAME}} is the second frame",
        ),
        (
            "<title>{{RAGTIME_IFRAME}}</title>",
            "1:8: {{RAGTIME_IFRAME}} stands inside <title>, where no frame shows",
        ),
        (
            "<select><option>{{RAGTIME_IFRAME}}</select>",
            "1:17: {{RAGTIME_IFRAME}} stands inside <option>, where no frame shows",
        ),
        (
            "<p title=\"{{RAGTIME_IFRAME}}\">",
            "1:11: {{RAGTIME_IFRAME}} stands in the attribute `title`",
        ),
        (
            "{{RAGTIME_IFRAME}}<script>var a = '{{DEVICE_NAME}}'</script>",
            "1:36: {{DEVICE_NAME}} stands inside <script>, where escaping does not help",
        ),
        (
            "{{RAGTIME_IFRAME}}<SCRIPT>'{{DEVICE_SLUG}}'",
            "1:28: {{DEVICE_SLUG}} stands inside <script>, where escaping does not help",
        ),
        (
            "{{RAGTIME_IFRAME}}<style>a:after{content:'{{DEVICE_NAME}}'}</style>",
            "1:43: {{DEVICE_NAME}} stands inside <style>, where escaping does not help",
        ),
        (
            "{{RAGTIME_IFRAME}}<p title={{DEVICE_NAME}}>",
            "1:28: {{DEVICE_NAME}} stands in the attribute `title` without quotes",
        ),
        (
            "{{RAGTIME_IFRAME}}<p title=a{{DEVICE_NAME}}>",
            "1:29: {{DEVICE_NAME}} stands in the attribute `title` without quotes",
        ),
        (
            "{{RAGTIME_IFRAME}}<p onclick=\"a('{{DEVICE_NAME}}')\">",
            "1:34: {{DEVICE_NAME}} stands in the attribute `onclick`, where escaping does not help",
        ),
        (
            "{{RAGTIME_IFRAME}}<p style='--a:{{DEVICE_SLUG}}'>",
            "1:33: {{DEVICE_SLUG}} stands in the attribute `style`, where escaping does not help",
        ),
        (
            "{{RAGTIME_IFRAME}}<a href=\" {{DEVICE_NAME}}\">",
            "1:29: {{DEVICE_NAME}} stands at the beginning of the URL in `href`",
        ),
        (
            "{{RAGTIME_IFRAME}}<a href=\" java\tScript:a('{{DEVICE_NAME}}')\">",
            "1:44: {{DEVICE_NAME}} stands in the code that `href` holds",
        ),
        ("{{RAGTIME_IFRAME}}<p {{DEVICE_SLUG}}>", "1:22: {{DEVICE_SLUG}} stands inside a tag"),
        (
            "{{RAGTIME_IFRAME}}<p {{DEVICE_SLUG}}=\"a\">",
            "1:22: {{DEVICE_SLUG}} stands inside a tag",
        ),
        ("{{RAGTIME_IFRAME}}</p {{DEVICE_SLUG}}>", "1:23: {{DEVICE_SLUG}} stands inside a tag"),
        (
            "{{RAGTIME_IFRAME}}<{{DEVICE_SLUG}}>",
            "1:20: {{DEVICE_SLUG}} stands right behind `<`, where it would become a tag",
        ),
        (
            "{{RAGTIME_IFRAME}}<{{DEVICE_SLUG}}{{DEVICE_NAME}}>",
            "1:20: {{DEVICE_SLUG}} stands right behind `<`, where it would become a tag\n1:35: {{DEVICE_NAME}} stands right behind `<`, where it would become a tag",
        ),
        (
            "{{RAGTIME_IFRAME}}<title></t{{DEVICE_NAME}}></title>",
            "1:29: {{DEVICE_NAME}} stands right behind `<`, where it would become a tag",
        ),
        ("{{RAGTIME_IFRAME}} 1 < {{DEVICE_SLUG}}", ""),
        (
            "é\r\né{{RAGTIME_IFRAME}}<p a={{DEVICE_SLUG}}>",
            "2:25: {{DEVICE_SLUG}} stands in the attribute `a` without quotes",
        ),
    ];
    for (text, expected) in cases {
        let (template, faults) = Template::parse(text);
        let told: Vec<_> =
            faults.iter().map(|it| format!("{}:{}: {}", it.line, it.column, it.what)).collect();
        assert_eq!(told.join("\n"), expected, "{text}");
        assert_eq!(template.is_none(), !expected.is_empty(), "{text}");
    }
}

#[test]
fn what_was_meant_as_a_token_is_a_warning() {
    for (text, is_told) in [
        ("{{ DEVICE_NAME }}", true),
        ("{{device_name}}", true),
        ("{{DEVICE-SLUG}}", true),
        ("{{DEVICE_NAMES}}", true),
        ("{{RAGTIME_FRAME}}", true),
        ("{{name}}", false),
        ("{{#each devices}}", false),
        ("{{", false),
    ] {
        let (template, faults) = Template::parse(&format!("{text}{{{{RAGTIME_IFRAME}}}}"));
        assert!(template.is_some(), "{text}");
        assert_eq!(
            faults.iter().filter(|fault| fault.is_warning).count(),
            usize::from(is_told),
            "{text}"
        );
    }
}

#[test]
fn in_a_sandbox_the_template_is_beside_the_chat() {
    let (template, _) =
        Template::parse("<p id=\"a\">{{DEVICE_NAME}}</p>{{RAGTIME_IFRAME}}<script>x()</script>");
    let named = Named { slug: "lobby", name: "\"><script>alert(1)</script>" };
    let page = template.unwrap().shell(named, Isolation::Sandbox, &SCRIPT).with("/chat/");
    let inside = page.split_once("srcdoc=\"").unwrap().1.split_once('"').unwrap().0;
    assert!(!inside.contains('<') && inside.contains("&amp;lt;script&amp;gt;alert(1)"), "{inside}");
    assert!(inside.contains("data-part=&quot;template&quot;"), "{inside}");
    assert!(
        inside.contains("data-vestibule-place") && !inside.contains("ragtime-chat"),
        "{inside}"
    );
    assert!(page.contains("data-part=\"stage\" data-origins=\"https://a.example\""), "{page}");
    assert!(
        page.contains("sandbox=\"allow-scripts ") && !page.contains("allow-same-origin"),
        "{page}"
    );
    assert!(page.ends_with(&[&*frame(), "\n</body>\n</html>\n"].concat()), "{page}");
}

/// What a page is made of, as a browser's tokenizer sees it: tags with their attributes, text left out.
fn markup(page: &str) -> Vec<String> {
    let tokens = html5gum::Tokenizer::new(page);
    let shown = tokens.filter_map(|token| match token {
        Ok(html5gum::Token::StartTag(tag)) => {
            let name = String::from_utf8_lossy(&tag.name).into_owned();
            let attributes: Vec<_> = tag
                .attributes
                .keys()
                .map(|name| String::from_utf8_lossy(name).into_owned())
                .collect();
            Some(format!("<{name} {}>", attributes.join(" ")))
        }
        Ok(html5gum::Token::EndTag(tag)) => {
            Some(format!("</{}>", String::from_utf8_lossy(&tag.name)))
        }
        _ => None,
    });
    shown.collect()
}

proptest! {
    #[test]
    fn no_name_changes_the_markup(name in ".{0,40}", hostile in "[<>&\"'/= a-z!\\-{}]{0,40}") {
        let text = "<title>{{DEVICE_NAME}}</title><p title=\"{{DEVICE_NAME}}\" lang='{{DEVICE_SLUG}}'>\
                    {{DEVICE_NAME}}{{RAGTIME_IFRAME}}<a href=\"/{{DEVICE_NAME}}\">{{DEVICE_SLUG}}</a>";
        let expected = markup(&page(text, "x", "x"));
        prop_assert_eq!(markup(&page(text, &hostile, &name)), expected.clone());
        prop_assert_eq!(markup(&page(text, &name, &hostile)), expected);
    }

    #[test]
    fn every_template_is_read_or_refused(text in "([<>/!\"'= a-z\\-\r\né]|\\{\\{DEVICE_NAME\\}\\}|\\{\\{RAGTIME_IFRAME\\}\\}|<script>|<!--|-->|</title>){0,40}") {
        let (template, faults) = Template::parse(&text);
        prop_assert_eq!(template.is_none(), faults.iter().any(|fault| !fault.is_warning));
    }

    #[test]
    fn a_template_that_is_accepted_bears_any_name(
        text in "([<>/!\"'= a-z\\-]|\\{\\{DEVICE_NAME\\}\\}|<p title=\"|<script>|<!--|-->|<title>|</title>){0,30}",
        name in "[<>&\"'/= a-z!\\-{}]{0,20}",
    ) {
        let text = format!("{{{{RAGTIME_IFRAME}}}}{text}");
        let (template, _) = Template::parse(&text);
        let Some(template) = template else { return Ok(()) };
        let shown = |name| template.shell(Named { slug: "s", name }, Isolation::None, &SCRIPT).with("/");
        // What stands in a tag's name is no attribute and no text: only there does a name show.
        let plain = markup(&shown("x"));
        let hostile = markup(&shown(&name));
        prop_assert_eq!(plain.len(), hostile.len());
    }
}

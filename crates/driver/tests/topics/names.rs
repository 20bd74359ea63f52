//! The rules for names, and which options a topic has.

use framewright_driver::topics::*;

#[test]
fn a_prefix_matches_its_name_and_all_below_it() {
    let matches = |filter, topic| Filter::parse(filter, 256).unwrap().matches(topic);
    for topic in ["prices", "prices/EUR", "prices/EUR/1", "prices/"] {
        assert!(matches("prices/#", topic), "{topic}");
        assert!(matches("#", topic), "{topic}");
        assert!(prefixes(topic).any(|prefix| prefix == "prices/#"), "{topic}");
    }
    for topic in ["price", "prices2", "a/prices", "/prices"] {
        assert!(!matches("prices/#", topic), "{topic}");
        assert!(!prefixes(topic).any(|prefix| prefix == "prices/#"), "{topic}");
    }
    assert!(matches("/#", "/a"));
    assert!(!matches("/#", "a"));
    assert_eq!(prefixes("a/b").collect::<Vec<_>>(), ["a/b/#", "a/#", "#"]);
    assert_eq!(prefixes("/a").collect::<Vec<_>>(), ["/a/#", "/#", "#"]);
}

#[test]
fn each_rule_for_names_has_its_error() {
    assert_eq!(check_topic("", 9), Err(NameError::Empty));
    assert_eq!(check_topic("123456789", 9), Ok(()));
    assert_eq!(check_topic("1234567890", 9), Err(NameError::TooLong { limit: 9 }));
    assert_eq!(check_topic("a\u{7f}", 9), Err(NameError::Control));
    assert_eq!(check_topic("a\0", 9), Err(NameError::Control));
    assert_eq!(check_topic("a/#", 9), Err(NameError::Prefix));
    for filter in ["#/a", "a#", "a/#/b", "##", "a/b#", "a#/#"] {
        assert_eq!(check_filter(filter, 9), Err(NameError::Prefix), "{filter}");
    }
    for filter in ["#", "a/#", "/#", "ä/ö", "a//b", "a b", "+/a"] {
        assert_eq!(check_filter(filter, 9), Ok(()), "{filter}");
    }
}

#[test]
fn the_most_specific_filter_has_the_options() {
    let keeping = |count| TopicOptions { retain: Retain::Last(count), ..TopicOptions::default() };
    let builder = Topics::builder()
        .options("a/b/#", keeping(3))
        .options("#", keeping(1))
        .options("a/b", keeping(4))
        .options("a/#", keeping(2));
    let hub = Hub::new(builder.build()).unwrap();
    for (filter, count) in
        [("x", 1), ("#", 1), ("a", 2), ("a/#", 2), ("a/x/y", 2), ("a/b/c", 3), ("a/b/#", 3)]
    {
        assert_eq!(*hub.options(filter), keeping(count), "{filter}");
    }
    assert_eq!(*hub.options("a/b"), keeping(4));
    assert_eq!(Topics::builder().try_options("a#", keeping(1)).err(), Some(NameError::Prefix));
}

#[test]
fn positions_are_two_numbers() {
    let position = |major, minor| Some(Position { major, minor });
    assert_eq!(Position::parse("1692632086370-12"), position(1_692_632_086_370, 12));
    assert_eq!(Position::parse("7"), position(7, 0));
    for text in ["", "-", "1-", "-1", "+1-0", "1-2-3", "x", "18446744073709551616", "1 - 2"] {
        assert_eq!(Position::parse(text), None, "{text}");
    }
    assert!(Position::parse("9-9") < Position::parse("10-0"));
    assert!(Position::parse("9-9") < Position::parse("9-10"));
}

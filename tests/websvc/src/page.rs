//! The HTML of `/posts`.

use std::fmt::Write;

/// A row of the table `posts`.
#[derive(Debug, PartialEq)]
pub(crate) struct Post {
    pub(crate) title: String,
    /// `None` in a database that migration 2 has not reached.
    pub(crate) author: Option<String>,
}

pub(crate) fn render(title: &str, posts: &[Post]) -> String {
    let title = escape(title);
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>{title}</title></head>\n\
         <body>\n<h1>{title}</h1>\n<ul>\n"
    );
    for post in posts {
        html.push_str("<li>");
        html.push_str(&escape(&post.title));
        if let Some(author) = &post.author {
            // Writing to a String can not fail.
            let _ = write!(html, " <small>by {}</small>", escape(author));
        }
        html.push_str("</li>\n");
    }
    html.push_str("</ul>\n</body>\n</html>\n");
    html
}

/// Text as it may stand in HTML, between tags and in a quoted attribute.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn post(title: &str, author: Option<&str>) -> Post {
        Post {
            title: title.to_owned(),
            author: author.map(str::to_owned),
        }
    }

    #[test]
    fn the_title_is_the_heading() {
        let html = render("MEOW MEOW", &[]);
        assert!(html.contains("<h1>MEOW MEOW</h1>"), "{html}");
        assert!(html.contains("<title>MEOW MEOW</title>"), "{html}");
    }

    #[test]
    fn posts_are_listed_in_the_order_given() {
        let html = render("Posts", &[post("one", None), post("two", None)]);
        assert!(
            html.contains("<ul>\n<li>one</li>\n<li>two</li>\n</ul>"),
            "{html}"
        );
    }

    #[test]
    fn an_author_stands_with_the_post_where_there_is_one() {
        let html = render("Posts", &[post("one", Some("the house cat"))]);
        assert!(
            html.contains("<li>one <small>by the house cat</small></li>"),
            "{html}"
        );
    }

    #[test]
    fn markup_in_the_data_stays_text() {
        let evil = "</ul><script>alert('x' && \"y\")</script>";
        let html = render(evil, &[post(evil, Some(evil))]);
        assert!(!html.contains("<script>"), "{html}");
        let safe =
            "&lt;/ul&gt;&lt;script&gt;alert(&#39;x&#39; &amp;&amp; &quot;y&quot;)&lt;/script&gt;";
        assert_eq!(html.matches(safe).count(), 4, "{html}");
    }

    #[test]
    fn other_text_is_left_alone() {
        assert_eq!(escape("Ünïcode 猫 100 %"), "Ünïcode 猫 100 %");
    }
}

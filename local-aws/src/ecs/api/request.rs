//! What requests for lists and descriptions have in common.

use crate::ecs::model::error::ApiError;

/// Whether `include` asks for something, such as `TAGS`.
pub(super) fn includes(include: &[String], what: &str) -> bool {
    include.iter().any(|item| item == what)
}

/// Cuts one page out of a list. The token is the position of the next page's first item.
///
/// Items may appear or vanish between two pages, as with AWS.
pub(super) fn page<T>(
    items: Vec<T>,
    max_results: Option<i64>,
    next_token: Option<&str>,
    largest: usize,
) -> Result<(Vec<T>, Option<String>), ApiError> {
    let size = match max_results {
        None => largest,
        Some(size) => usize::try_from(size)
            .ok()
            .filter(|size| (1..=largest).contains(size))
            .ok_or_else(|| {
                ApiError::invalid_parameter(format!("maxResults must be between 1 and {largest}."))
            })?,
    };
    let start = match next_token {
        None => 0,
        Some(token) => token
            .parse::<usize>()
            .map_err(|_| ApiError::invalid_parameter("Invalid token."))?,
    };
    let next = (start + size < items.len()).then(|| (start + size).to_string());
    Ok((items.into_iter().skip(start).take(size).collect(), next))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_cut_into_pages() {
        let list = || vec![1, 2, 3];
        let (first, token) = page(list(), Some(2), None, 100).unwrap();
        assert_eq!((first, token.as_deref()), (vec![1, 2], Some("2")));
        let (second, token) = page(list(), Some(2), token.as_deref(), 100).unwrap();
        assert_eq!((second, token), (vec![3], None));
        assert!(page(list(), Some(0), None, 100).is_err());
        assert!(page(list(), Some(101), None, 100).is_err());
        assert!(page(list(), None, Some("x"), 100).is_err());
    }
}

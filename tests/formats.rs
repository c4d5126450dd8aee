//! What a reader of files promises: what is read, what is inferred, and every error as text.

mod support;

use support::fixtures;

#[test]
fn every_fixture_is_there() {
    assert_eq!(fixtures::all().len(), fixtures::COUNT);
}

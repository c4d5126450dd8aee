//! A small cache that drops the least recently used entry.

/// At most `most` pairs, most recently used first.
pub(super) struct Cache<K, V> {
    most: usize,
    entries: Vec<(K, V)>,
}

impl<K: PartialEq, V: Clone> Cache<K, V> {
    /// Makes a cache of at most `most` pairs.
    pub(super) fn new(most: usize) -> Self {
        Self { most, entries: Vec::with_capacity(most) }
    }

    /// Returns the value of `key`, which becomes the most recently used.
    pub(super) fn get(&mut self, key: &K) -> Option<V> {
        let index = self.entries.iter().position(|(known, _)| known == key)?;
        self.entries[..=index].rotate_right(1);
        Some(self.entries[0].1.clone())
    }

    /// Inserts `value` as the most recently used, and drops the least recently used if there is no room.
    pub(super) fn put(&mut self, key: K, value: V) {
        self.entries.retain(|(known, _)| *known != key);
        self.entries.truncate(self.most - 1);
        self.entries.insert(0, (key, value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_longest_ago_is_forgotten_first() {
        let mut cache = Cache::new(2);
        cache.put(1, 'a');
        cache.put(2, 'b');
        assert_eq!(cache.get(&1), Some('a'));
        cache.put(3, 'c');
        assert_eq!((cache.get(&1), cache.get(&2), cache.get(&3)), (Some('a'), None, Some('c')));
    }

    #[test]
    fn a_key_is_there_once() {
        let mut cache = Cache::new(2);
        cache.put(1, 'a');
        cache.put(2, 'b');
        cache.put(1, 'c');
        assert_eq!((cache.get(&1), cache.get(&2)), (Some('c'), Some('b')));
    }
}

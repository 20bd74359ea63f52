//! Which file depends on which, and the circles in that.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Files by their numbers, and what each names of others.
#[derive(Debug, Default)]
pub(super) struct Graph {
    edges: BTreeMap<usize, BTreeMap<usize, BTreeSet<String>>>,
}

impl Graph {
    /// Notes that a file names an item of another one. What it names of itself is nothing to note.
    pub(super) fn add(&mut self, from: usize, to: usize, item: &str) {
        if from != to {
            self.edges.entry(from).or_default().entry(to).or_default().insert(item.to_owned());
        }
    }

    /// What a file names of another one.
    pub(super) fn items(&self, from: usize, to: usize) -> impl Iterator<Item = &str> {
        let items = self.edges.get(&from).and_then(|edges| edges.get(&to));
        items.into_iter().flatten().map(String::as_str)
    }

    /// For each dependency that is part of a circle the shortest circle that it is part of; each
    /// once, the shortest first, and each beginning with its lowest number.
    ///
    /// All circles can be too many to print, and these are enough: when they are gone, so are all.
    pub(super) fn circles(&self) -> Vec<Vec<usize>> {
        let mut circles = BTreeSet::new();
        for (&from, edges) in &self.edges {
            for &to in edges.keys() {
                if let Some(mut circle) = self.shortest_way(to, from) {
                    let lowest = (0..circle.len()).min_by_key(|&place| circle[place]).unwrap_or_default();
                    circle.rotate_left(lowest);
                    circles.insert((circle.len(), circle));
                }
            }
        }
        circles.into_iter().map(|(_, circle)| circle).collect()
    }

    /// The files on the shortest way along dependencies, both ends included.
    fn shortest_way(&self, from: usize, to: usize) -> Option<Vec<usize>> {
        let mut came_from = BTreeMap::from([(from, from)]);
        let mut waiting = VecDeque::from([from]);
        while let Some(file) = waiting.pop_front() {
            if file == to {
                let mut way = vec![to];
                while way[way.len() - 1] != from {
                    way.push(came_from[&way[way.len() - 1]]);
                }
                way.reverse();
                return Some(way);
            }
            for &next in self.edges.get(&file).into_iter().flat_map(BTreeMap::keys) {
                came_from.entry(next).or_insert_with(|| {
                    waiting.push_back(next);
                    file
                });
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn circles(edges: &[(usize, usize)]) -> Vec<Vec<usize>> {
        let mut graph = Graph::default();
        for &(from, to) in edges {
            graph.add(from, to, "Item");
        }
        graph.circles()
    }

    #[test]
    fn a_chain_and_two_ways_to_one_file_are_no_circles() {
        assert!(circles(&[(0, 1), (1, 2), (0, 2), (3, 2), (2, 2)]).is_empty());
    }

    #[test]
    fn each_circle_is_told_once_and_the_shortest_first() {
        assert_eq!(circles(&[(4, 3), (3, 2), (2, 4), (0, 1), (1, 0)]), [vec![0, 1], vec![2, 4, 3]]);
    }

    #[test]
    fn each_dependency_of_a_knot_is_in_one_of_its_circles() {
        assert_eq!(circles(&[(0, 1), (1, 0), (1, 2), (2, 0)]), [vec![0, 1], vec![0, 1, 2]]);
    }
}

//! In which order nodes run.
//!
//! Nodes stand in layers: a node's layer is one more than the deepest node that an edge leads to it
//! from. Nodes of a layer do not depend on each other. Everything here is iterative and takes one
//! pass over nodes and edges, for graphs of 100,000 nodes in one line are graphs, too.

/// Nodes in the order in which they run.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Order {
    /// By place: the node that runs there.
    pub nodes: Vec<u32>,
    /// By node: its layer.
    pub layers: Vec<u32>,
    /// Where each layer begins in `nodes`, and the end of the last.
    pub starts: Vec<u32>,
}

/// Edges by the node that they leave or reach: `of(n)` are the other ends.
pub(super) struct Adjacency {
    starts: Vec<u32>,
    ends: Vec<u32>,
}

impl Adjacency {
    /// From pairs of a node and the other end.
    pub(super) fn new(nodes: usize, pairs: impl Iterator<Item = (u32, u32)> + Clone) -> Self {
        let mut starts = vec![0_u32; nodes + 1];
        for (node, _) in pairs.clone() {
            starts[node as usize + 1] += 1;
        }
        for node in 0..nodes {
            starts[node + 1] += starts[node];
        }
        let mut next = starts.clone();
        let mut ends = vec![0; starts[nodes] as usize];
        for (node, end) in pairs {
            let place = &mut next[node as usize];
            ends[*place as usize] = end;
            *place += 1;
        }
        Self { starts, ends }
    }

    pub(super) fn of(&self, node: u32) -> &[u32] {
        let node = node as usize;
        &self.ends[self.starts[node] as usize..self.starts[node + 1] as usize]
    }
}

/// Puts `nodes` nodes in order; or says which of them form a circle, the first one again at the
/// end.
pub(super) fn order(nodes: usize, edges: &[(u32, u32)]) -> Result<Order, Vec<u32>> {
    let next = Adjacency::new(nodes, edges.iter().copied());
    let mut waiting = vec![0_u32; nodes];
    for &(_, to) in edges {
        waiting[to as usize] += 1;
    }
    let mut layers = vec![0_u32; nodes];
    let mut ready: Vec<u32> = (0..nodes as u32).filter(|&n| waiting[n as usize] == 0).collect();
    let mut done = 0;
    while let Some(&node) = ready.get(done) {
        done += 1;
        for &to in next.of(node) {
            layers[to as usize] = layers[to as usize].max(layers[node as usize] + 1);
            waiting[to as usize] -= 1;
            if waiting[to as usize] == 0 {
                ready.push(to);
            }
        }
    }
    if done < nodes {
        return Err(circle(nodes, edges, &waiting));
    }
    let count = layers.iter().max().map_or(0, |&last| last as usize + 1);
    let by_layer = Adjacency::new(count, (0..nodes as u32).map(|n| (layers[n as usize], n)));
    Ok(Order { nodes: by_layer.ends, layers, starts: by_layer.starts })
}

/// A circle among the nodes that still wait. Each of them waits for another one of them, so going
/// back from any leads into a circle.
fn circle(nodes: usize, edges: &[(u32, u32)], waiting: &[u32]) -> Vec<u32> {
    let mut before: Vec<Option<u32>> = vec![None; nodes];
    for &(from, to) in edges {
        if waiting[from as usize] > 0 && waiting[to as usize] > 0 {
            before[to as usize] = Some(from);
        }
    }
    let mut seen = vec![false; nodes];
    let mut at = waiting.iter().position(|&count| count > 0).unwrap_or_default() as u32;
    while !std::mem::replace(&mut seen[at as usize], true) {
        at = before[at as usize].unwrap_or(at);
    }
    let mut path = vec![at];
    let mut step = before[at as usize].unwrap_or(at);
    while step != at {
        path.push(step);
        step = before[step as usize].unwrap_or(at);
    }
    path.push(at);
    path.reverse();
    path
}

/// Which nodes can be reached from `entry`.
pub(super) fn reachable(nodes: usize, edges: &[(u32, u32)], entry: &[u32]) -> Vec<bool> {
    let next = Adjacency::new(nodes, edges.iter().copied());
    let mut reached = vec![false; nodes];
    let mut todo = Vec::new();
    for &node in entry {
        if !std::mem::replace(&mut reached[node as usize], true) {
            todo.push(node);
        }
    }
    while let Some(node) = todo.pop() {
        for &to in next.of(node) {
            if !std::mem::replace(&mut reached[to as usize], true) {
                todo.push(to);
            }
        }
    }
    reached
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The layer of a node by its definition, recursively.
    fn layer(node: u32, edges: &[(u32, u32)]) -> u32 {
        let before = edges.iter().filter(|edge| edge.1 == node);
        before.map(|edge| layer(edge.0, edges) + 1).max().unwrap_or(0)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 256 }))]

        #[test]
        fn layers_are_those_of_the_definition(
            nodes in 1_usize..12,
            pairs in prop::collection::vec((0_u32..12, 0_u32..12), 0..24),
        ) {
            // Edges that go up form no circle.
            let edges: Vec<_> = pairs
                .into_iter()
                .filter(|&(from, to)| from < to && (to as usize) < nodes)
                .collect();
            let order = order(nodes, &edges).unwrap();
            for node in 0..nodes as u32 {
                prop_assert_eq!(order.layers[node as usize], layer(node, &edges));
            }
            let place = |n: u32| order.nodes.iter().position(|&other| other == n).unwrap();
            prop_assert!(edges.iter().all(|&(from, to)| place(from) < place(to)));
            for (layer, range) in order.starts.windows(2).enumerate() {
                let in_layer = &order.nodes[range[0] as usize..range[1] as usize];
                prop_assert!(in_layer.iter().all(|&n| order.layers[n as usize] == layer as u32));
                prop_assert!(in_layer.is_sorted());
            }
        }

        #[test]
        fn a_circle_is_named_edge_by_edge(
            nodes in 1_usize..8,
            pairs in prop::collection::vec((0_u32..8, 0_u32..8), 0..24),
        ) {
            let fits = |n: u32| (n as usize) < nodes;
            let edges: Vec<_> = pairs.into_iter().filter(|&(a, b)| fits(a) && fits(b)).collect();
            if let Err(circle) = order(nodes, &edges) {
                prop_assert!(circle.len() > 1 && circle.first() == circle.last());
                for step in circle.windows(2) {
                    prop_assert!(edges.contains(&(step[0], step[1])), "{:?} {:?}", circle, edges);
                }
            }
        }
    }

    #[test]
    fn what_is_not_led_to_is_not_reached() {
        assert_eq!(reachable(4, &[(0, 1), (2, 3)], &[0, 0]), [true, true, false, false]);
    }
}

// SPDX-License-Identifier: GPL-2.0-only
//! The longest way through a graph of calls, and its circles, without recursion: the graph may be as deep as it likes.

use std::collections::VecDeque;

/// A call of one function by another, or a jump at its end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Edge {
    pub(super) to: usize,
    /// What the caller has on the stack by then, in bytes.
    pub(super) used: u64,
    pub(super) is_call: bool,
}

/// Functions and their calls.
pub(super) struct Calls {
    /// What each function needs for itself, in bytes.
    pub(super) frames: Vec<u64>,
    pub(super) edges: Vec<Vec<Edge>>,
    /// The function that each is a part of; itself for most.
    pub(super) parts: Vec<usize>,
}

impl Calls {
    pub(super) fn new(count: usize) -> Self {
        Self { frames: vec![0; count], edges: vec![Vec::new(); count], parts: (0..count).collect() }
    }

    pub(super) fn frame(&mut self, node: usize, bytes: u64) {
        self.frames[node] = self.frames[node].max(bytes);
    }

    pub(super) fn edge(&mut self, from: usize, edge: Edge) {
        self.edges[from].push(edge);
    }
}

/// What going through all calls has shown.
pub(super) struct Paths {
    /// The most that is needed from each function on, in bytes.
    total: Vec<u64>,
    /// The call by which it is needed; nothing where the function itself needs the most.
    next: Vec<Option<Edge>>,
    /// Functions of one number can all be reached from each other.
    component: Vec<usize>,
    /// The components in which a chain of calls comes back to where it was.
    pub(super) circles: Vec<Vec<usize>>,
    /// Whether a function is called from outside its component.
    pub(super) is_entered: Vec<bool>,
}

/// A function whose calls are being followed.
struct Visit {
    node: usize,
    next_edge: usize,
}

const UNSEEN: usize = usize::MAX;

impl Paths {
    /// Tarjan's algorithm. A call that comes back to a function that is being followed adds nothing to a sum.
    pub(super) fn new(calls: &Calls) -> Self {
        let count = calls.frames.len();
        let mut new = Self {
            total: calls.frames.clone(),
            next: vec![None; count],
            component: vec![UNSEEN; count],
            circles: Vec::new(),
            is_entered: vec![false; count],
        };
        let mut order = vec![UNSEEN; count];
        let mut lowest = vec![UNSEEN; count];
        let mut is_followed = vec![false; count];
        let mut open = Vec::new();
        let mut clock = 0;
        let mut is_called = vec![false; count];
        calls.edges.iter().flatten().for_each(|edge| is_called[edge.to] = true);
        // Circles are to be entered as they are from outside.
        let (outer, inner): (Vec<usize>, Vec<usize>) = (0..count).partition(|node| !is_called[*node]);
        for start in outer.into_iter().chain(inner) {
            if order[start] != UNSEEN {
                continue;
            }
            let mut visits = vec![Visit { node: start, next_edge: 0 }];
            while let Some(visit) = visits.last_mut() {
                let node = visit.node;
                if order[node] == UNSEEN {
                    (order[node], lowest[node]) = (clock, clock);
                    clock += 1;
                    is_followed[node] = true;
                    open.push(node);
                }
                if let Some(edge) = calls.edges[node].get(visit.next_edge).copied() {
                    if order[edge.to] == UNSEEN {
                        visits.push(Visit { node: edge.to, next_edge: 0 });
                        continue;
                    }
                    visit.next_edge += 1;
                    if new.component[edge.to] == UNSEEN {
                        lowest[node] = lowest[node].min(lowest[edge.to]);
                    }
                    let total = edge.used.saturating_add(new.total[edge.to]);
                    if !is_followed[edge.to] && total > new.total[node] {
                        new.total[node] = total;
                        new.next[node] = Some(edge);
                    }
                    continue;
                }
                is_followed[node] = false;
                visits.pop();
                if lowest[node] == order[node] {
                    let first = open.iter().rposition(|one| *one == node).unwrap_or(0);
                    let members = open.split_off(first);
                    members.iter().for_each(|member| new.component[*member] = node);
                    new.close(calls, members);
                }
            }
        }
        for (from, edges) in calls.edges.iter().enumerate() {
            let outer = edges.iter().filter(|edge| new.component[edge.to] != new.component[from]);
            outer.for_each(|edge| new.is_entered[edge.to] = true);
        }
        new
    }

    /// Keeps a component if it is a circle that needs stack: jumps alone are a loop.
    fn close(&mut self, calls: &Calls, members: Vec<usize>) {
        let is_inner =
            |from: usize, edge: &Edge| edge.is_call && self.component[edge.to] == self.component[from];
        if members.iter().any(|from| calls.edges[*from].iter().any(|edge| is_inner(*from, edge))) {
            self.circles.push(members);
        }
    }

    /// The chain that needs the most: each function, and what it has on the stack when the next is called.
    pub(super) fn deepest(&self, calls: &Calls) -> Vec<(usize, u64)> {
        let mut at = (0..self.total.len()).max_by_key(|node| (self.total[*node], usize::MAX - node));
        let mut chain = Vec::new();
        while let Some(node) = at {
            let next = self.next[node];
            chain.push((node, next.map_or(calls.frames[node], |edge| edge.used)));
            at = next.map(|edge| edge.to);
        }
        chain
    }
}

/// A shortest way from a function of a circle back to itself; it is at both ends.
pub(super) fn around(calls: &Calls, paths: &Paths, first: usize) -> Vec<usize> {
    let mut before = std::collections::HashMap::new();
    let mut queue = VecDeque::from([first]);
    while let Some(node) = queue.pop_front() {
        for edge in &calls.edges[node] {
            if paths.component[edge.to] != paths.component[first] || before.contains_key(&edge.to) {
                continue;
            }
            before.insert(edge.to, node);
            queue.push_back(edge.to);
        }
        if before.contains_key(&first) {
            break;
        }
    }
    let mut way = vec![first];
    let mut at = first;
    while let Some(node) = before.get(&at) {
        way.push(*node);
        at = *node;
        if at == first {
            break;
        }
    }
    way.reverse();
    way
}

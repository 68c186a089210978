// SPDX-License-Identifier: GPL-2.0
//! Each is made larger than one allocation holds, and is compared with what is known of its content. All but
//! the objects hold the same type, for what is generic takes as long to compile for each further one.

use alloc::{
    boxed::Box,
    collections::{BTreeMap, VecDeque},
    string::String,
    vec::Vec,
};
use core::hint::black_box;

use ktest::{Test, ktest};

use super::report::Expect;
use crate::errno::Error;

/// Numbers without order, each of 0 to 996 once.
fn shuffled() -> impl Iterator<Item = u64> {
    (0..997).map(|index| black_box(index) * 389 % 997)
}

#[ktest(name = "rust.collections.vec")]
fn vec(report: &mut Test) {
    let mut numbers = Vec::new();
    for number in shuffled() {
        numbers.push(number);
    }
    report.size("length", 997, numbers.len());
    report.number("sum", 996 * 997 / 2, numbers.iter().sum());
    report.number("element 3", 3 * 389 % 997, numbers[3]);
    numbers.retain(|number| number % 2 == 0);
    report.size("even numbers", 499, numbers.len());
    numbers.insert(0, 1234);
    report.number("element 0, removed", 1234, numbers.swap_remove(0));
    report.size("length without it", 499, numbers.len());
    numbers.truncate(10);
    numbers.shrink_to_fit();
    report.size("capacity after shrinking", 10, numbers.capacity());
    report.holds("no element 10", numbers.get(black_box(10)).is_none());
    report.checked("popped", Some(numbers[9] as i64), numbers.pop().map(|last| last as i64));
}

trait Step {
    fn apply(&self, value: u64) -> u64;
}

struct Add(u64);
struct Multiply(u64);

impl Step for Add {
    fn apply(&self, value: u64) -> u64 {
        value + self.0
    }
}

impl Step for Multiply {
    fn apply(&self, value: u64) -> u64 {
        value * self.0
    }
}

#[ktest(name = "rust.collections.vec_of_objects")]
fn vec_of_objects(report: &mut Test) {
    let mut steps: Vec<Box<dyn Step>> = Vec::new();
    for index in 0..black_box(30) {
        if index % 3 == 0 {
            steps.push(Box::new(Multiply(2)));
        } else {
            steps.push(Box::new(Add(index)));
        }
    }
    let mut expected = 1;
    for index in 0..30 {
        expected = if index % 3 == 0 { expected * 2 } else { expected + index };
    }
    let got = steps.iter().fold(black_box(1), |value, step| step.apply(value));
    report.number("result of all steps", black_box(expected), got);
}

#[ktest(name = "rust.collections.sort")]
fn sort(report: &mut Test) {
    let mut numbers: Vec<u64> = shuffled().collect();
    numbers.sort_unstable_by(|left, right| right.cmp(left));
    let descending = numbers.iter().rev().zip(0..).filter(|(got, want)| **got == *want).count();
    report.size("numbers in their place, descending", 997, descending);
    numbers.reverse();
    // Equal keys keep their order in a stable sort: here, that of the places before.
    let mut places: Vec<u64> = shuffled().zip(0..).map(|(number, place)| number % 7 * 1000 + place).collect();
    places.sort_by_key(|place| place / 1000);
    report.holds("stable order", places.is_sorted());
    report.checked("last of the last key", Some(6996), places.last().map(|place| *place as i64));
    report.checked("place found", Some(500), numbers.binary_search(&500).ok().map(|place| place as i64));
}

#[ktest(name = "rust.collections.string")]
fn string(report: &mut Test) {
    let mut text = String::new();
    for letter in ['v', 'é', '€', '𝄞'] {
        text.push(black_box(letter));
    }
    report.bytes("letters of 1 to 4 bytes", b"v\xc3\xa9\xe2\x82\xac\xf0\x9d\x84\x9e", text.as_bytes());
    report.size("letters", 4, text.chars().count());
    report.holds("no boundary inside a letter", text.get(..2).is_none());
    report.bytes("reversed", "𝄞€év".as_bytes(), text.chars().rev().collect::<String>().as_bytes());
    let joined = ["usr", "lib", "vexfs"].map(black_box).join("/");
    report.bytes("joined", b"usr/lib/vexfs", joined.as_bytes());
    report.checked("found", Some(8), joined.find(black_box("vexfs")).map(|at| at as i64));
    report.bytes("replaced", b"usr:lib:vexfs", joined.replace('/', ":").as_bytes());
    let lossy = String::from_utf8_lossy(black_box(b"v\xffx"));
    report.bytes("repaired", "v\u{fffd}x".as_bytes(), lossy.as_bytes());
}

#[ktest(name = "rust.collections.btreemap")]
fn btreemap(report: &mut Test) {
    let mut map = BTreeMap::new();
    for number in shuffled() {
        map.insert(number, number * number);
    }
    report.size("length", 997, map.len());
    report.holds("keys in order", map.keys().is_sorted());
    report.checked("value of 31", Some(961), map.get(&black_box(31)).map(|value| *value as i64));
    report.holds("no value of 997", !map.contains_key(&black_box(997)));
    report.number("sum of a range", 100 + 121 + 144, map.range(10..13).map(|(_, value)| value).sum());
    report.checked("replaced", Some(25), map.insert(5, 1).map(|value| value as i64));
    *map.entry(5).or_insert(0) += 1;
    report.checked("changed in place", Some(2), map.get(&5).map(|value| *value as i64));
    for number in shuffled().filter(|number| number % 4 != 0) {
        map.remove(&number);
    }
    report.size("length after removals", 250, map.len());
    let first = map.first_key_value().map(|(key, _)| *key as i64);
    let last = map.last_key_value().map(|(key, _)| *key as i64);
    report.checked("first key", Some(0), first);
    report.checked("last key", Some(996), last);
    let upper = map.split_off(&500);
    report.size("keys below 500", 125, map.len());
    report.size("keys from 500", 125, upper.len());
}

#[ktest(name = "rust.collections.vecdeque")]
fn vecdeque(report: &mut Test) {
    let mut queue = VecDeque::with_capacity(4);
    let mut taken = 0;
    for number in 0..black_box(100) {
        queue.push_back(number);
        queue.push_back(number);
        taken += queue.pop_front().unwrap_or(u64::MAX);
    }
    report.size("length", 100, queue.len());
    // The first 100 of 0 0 1 1 2 2 …
    report.number("sum of what was taken", 2 * (49 * 50 / 2), taken);
    queue.push_front(7);
    report.checked("front", Some(7), queue.front().map(|front| *front as i64));
    report.checked("back", Some(99), queue.back().map(|back| *back as i64));
    queue.rotate_left(1);
    report.checked("back after rotation", Some(7), queue.back().map(|back| *back as i64));
    report.number("sum", 7 + 2 * (50..100).sum::<u64>(), queue.iter().sum());
}

#[ktest(name = "rust.collections.try_reserve")]
fn try_reserve(report: &mut Test) {
    let errno = |result: Result<(), Error>| i64::from(result.map_or_else(Error::errno, |()| 0));
    let huge = black_box(isize::MAX as usize);
    let mut text = String::from("kept");
    let mut queue = VecDeque::from([1_u64, 2, 3]);
    let refused = text.try_reserve(huge - text.len()).map_err(Error::from);
    report.signed("reserving for a string", Error::NoMemory.errno().into(), errno(refused));
    let refused = queue.try_reserve(huge / 8 - queue.len()).map_err(Error::from);
    report.signed("reserving for a queue", Error::NoMemory.errno().into(), errno(refused));
    let granted = text.try_reserve(black_box(1000)).map_err(Error::from);
    report.signed("reserving 1000 bytes", 0, errno(granted));
    report.holds("room for them", text.capacity() >= 1004);
    report.bytes("string after that", b"kept", text.as_bytes());
    report.number("queue after that", 6, queue.iter().sum());
}

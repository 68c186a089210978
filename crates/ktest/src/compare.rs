// SPDX-License-Identifier: GPL-2.0-only
//! Each `expect…!` gives whether it found what was expected, and lets the test fail where not; each `require…!` returns
//! from the test then. The reason names the place.

/// Something must be so.
#[macro_export]
macro_rules! expect {
    ($test:expr, $condition:expr $(,)?) => {{
        let holds: bool = $condition;
        if !holds {
            $crate::fail!($test, "expected {}", stringify!($condition));
        }
        holds
    }};
}

/// The two must be equal: what was got, and what is expected.
#[macro_export]
macro_rules! expect_eq {
    ($test:expr, $got:expr, $expected:expr $(,)?) => {{
        let (got, expected) = (&$got, &$expected);
        let holds = *got == *expected;
        if !holds {
            $crate::fail!(
                $test,
                "expected {} == {}; got {got:?}, expected {expected:?}",
                stringify!($got),
                stringify!($expected)
            );
        }
        holds
    }};
}

/// The two must differ.
#[macro_export]
macro_rules! expect_ne {
    ($test:expr, $got:expr, $other:expr $(,)?) => {{
        let (got, other) = (&$got, &$other);
        let holds = *got != *other;
        if !holds {
            $crate::fail!($test, "expected {} != {}; both are {got:?}", stringify!($got), stringify!($other));
        }
        holds
    }};
}

/// Something must be so, or the test ends: it returns a [`Result`](crate::Result).
#[macro_export]
macro_rules! require {
    ($test:expr, $condition:expr $(,)?) => {
        if !$crate::expect!($test, $condition) {
            return Err($crate::Failed);
        }
    };
}

/// The two must be equal, or the test ends: it returns a [`Result`](crate::Result).
#[macro_export]
macro_rules! require_eq {
    ($test:expr, $got:expr, $expected:expr $(,)?) => {
        if !$crate::expect_eq!($test, $got, $expected) {
            return Err($crate::Failed);
        }
    };
}

/// The test fails, for a reason that is formatted; the place comes before it. The test goes on.
#[macro_export]
macro_rules! fail {
    ($test:expr, $($reason:tt)+) => {
        $test.fail(format_args!("{}:{}: {}", file!(), line!(), format_args!($($reason)+)))
    };
}

//! What a driver is: the trait, the error classes, user data, a conformance suite and a fake

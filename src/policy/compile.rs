//! From read lists to a rule set.

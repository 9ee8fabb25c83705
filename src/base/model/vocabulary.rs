//! One `Display`/`FromStr` per vocabulary enum: TOML, the command line, SQL and JSON all speak the same words.

/// A word that is not of the vocabulary, with the words that are.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{word:?} is no {what}; it is one of {}", .known.join(", "))]
pub struct UnknownWord {
    /// What was given.
    pub word: String,
    /// What it should have been, in words.
    pub what: &'static str,
    /// All words of this vocabulary.
    pub known: &'static [&'static str],
}

/// Declares a closed vocabulary: an enum whose variants have one spelling each.
macro_rules! vocabulary {
    ($(#[$meta:meta])* pub enum $name:ident { $($(#[$vmeta:meta])* $variant:ident => $word:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
        pub enum $name { $($(#[$vmeta])* $variant,)+ }

        impl $name {
            /// Every value, in the order of the design.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];
            /// Every word, in the same order.
            pub const WORDS: &'static [&'static str] = &[$($word,)+];

            /// The one spelling of this value.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl ::std::str::FromStr for $name {
            type Err = $crate::base::model::UnknownWord;

            fn from_str(word: &str) -> Result<Self, Self::Err> {
                match word {
                    $($word => Ok(Self::$variant),)+
                    _ => Err($crate::base::model::UnknownWord {
                        word: word.to_owned(),
                        what: stringify!($name),
                        known: Self::WORDS,
                    }),
                }
            }
        }
    };
}
pub(crate) use vocabulary;

//! The languages whose words can be brought to their stems.

use snowball_stemmers_rs::Algorithm;

macro_rules! languages {
    ($($language:ident $name:literal),+ $(,)?) => {
        /// A language with a Snowball stemmer.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Language {
            $(#[doc = concat!("`", $name, "`.")] $language,)+
        }

        impl Language {
            /// All of them, by name.
            pub const ALL: &'static [Self] = &[$(Self::$language),+];

            /// Its English name, in lower case.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$language => $name,)+
                }
            }

            pub(super) fn algorithm(self) -> Algorithm {
                match self {
                    $(Self::$language => Algorithm::$language,)+
                }
            }
        }
    };
}

languages! {
    Arabic "arabic", Armenian "armenian", Basque "basque", Catalan "catalan", Czech "czech",
    Danish "danish", Dutch "dutch", English "english", Esperanto "esperanto",
    Estonian "estonian", Finnish "finnish", French "french", German "german", Greek "greek",
    Hindi "hindi", Hungarian "hungarian", Indonesian "indonesian", Irish "irish",
    Italian "italian", Lithuanian "lithuanian", Nepali "nepali", Norwegian "norwegian",
    Persian "persian", Polish "polish", Portuguese "portuguese", Romanian "romanian",
    Russian "russian", Serbian "serbian", Spanish "spanish", Swedish "swedish",
    Tamil "tamil", Turkish "turkish", Ukrainian "ukrainian", Yiddish "yiddish",
}

impl Language {
    /// The language of this English name, in lower case.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|language| language.name() == name)
    }
}

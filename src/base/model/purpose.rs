//! What a destination is for: a closed list, in families.

use super::vocabulary;

vocabulary! {
    /// A family of purposes; authorities' clauses and stage settings may name a family instead of each purpose.
    pub enum Family {
        /// Program and database updates, downloads, configuration.
        Update => "update",
        /// Reports home of every kind.
        Telemetry => "telemetry",
        /// Licences, accounts, registration.
        Licensing => "licensing",
        /// Remote control and rendezvous: consoles, clouds, tunnels.
        Remote => "remote",
        /// The vendor's public face and what others depend on: sites, mail, certificates, safety.
        Web => "web",
        /// The vendor's own address space, where no name says more.
        Network => "network",
        /// Ways around the resolver.
        Bypass => "bypass",
    }
}

vocabulary! {
    /// What a destination is for.
    pub enum Purpose {
        /// Program or database updates.
        Update => "update",
        /// Installers and packages.
        Download => "download",
        /// Updates served under another maker's name.
        OemUpdate => "oem-update",
        /// Configuration fetched by the product.
        Config => "config",
        /// Usage, detection and reputation reports.
        Telemetry => "telemetry",
        /// Crash dumps.
        Crash => "crash",
        /// Finding the vendor's other services.
        Discovery => "discovery",
        /// Push messages from the vendor.
        Push => "push",
        /// Advertising.
        Ads => "ads",
        /// Automatic content recognition.
        Acr => "acr",
        /// Measurement of web visitors.
        WebAnalytics => "web-analytics",
        /// The vendor's own time service.
        Time => "time",
        /// Licence checks.
        Licensing => "licensing",
        /// User accounts.
        Account => "account",
        /// Device or product registration.
        Registration => "registration",
        /// Management console in the cloud.
        Console => "console",
        /// The vendor's cloud services.
        Cloud => "cloud",
        /// Peer-to-peer rendezvous.
        P2p => "p2p",
        /// The vendor's dynamic DNS.
        Ddns => "ddns",
        /// Tunnels and private relays.
        Tunnel => "tunnel",
        /// Relays for other endpoints' traffic.
        Relay => "relay",
        /// Web sites.
        Web => "web",
        /// Mail.
        Mail => "mail",
        /// Certificates, revocation lists, OCSP.
        Pki => "pki",
        /// Content delivery shared with others.
        Cdn => "cdn",
        /// Protection that others rely on, such as reputation of sites.
        Security => "security",
        /// Safety of people, such as no-fly zones.
        Safety => "safety",
        /// Tests whether a network has a way out.
        ConnectivityCheck => "connectivity-check",
        /// Names that tell clients to leave their own resolver.
        Canary => "canary",
        /// Cloud space rented by customers.
        PublicCloud => "public-cloud",
        /// Not known.
        Unknown => "unknown",
        /// The vendor's own address space.
        VendorNetwork => "vendor-network",
        /// `DoT`, `DoH`, `DoQ`, `DNSCrypt` resolvers.
        EncryptedDns => "encrypted-dns",
        /// DNS answers over plain HTTP.
        Httpdns => "httpdns",
        /// Public resolvers.
        PublicDns => "public-dns",
        /// A product's own way around the system's resolver.
        DnsBypass => "dns-bypass",
    }
}

impl Purpose {
    /// The family that a purpose belongs to.
    #[must_use]
    pub const fn family(self) -> Family {
        match self {
            Self::Update | Self::Download | Self::OemUpdate | Self::Config => Family::Update,
            Self::Telemetry
            | Self::Crash
            | Self::Discovery
            | Self::Push
            | Self::Ads
            | Self::Acr
            | Self::WebAnalytics
            | Self::Time => Family::Telemetry,
            Self::Licensing | Self::Account | Self::Registration => Family::Licensing,
            Self::Console | Self::Cloud | Self::P2p | Self::Ddns | Self::Tunnel | Self::Relay => Family::Remote,
            Self::Web
            | Self::Mail
            | Self::Pki
            | Self::Cdn
            | Self::Security
            | Self::Safety
            | Self::ConnectivityCheck
            | Self::Canary
            | Self::PublicCloud
            | Self::Unknown => Family::Web,
            Self::VendorNetwork => Family::Network,
            Self::EncryptedDns | Self::Httpdns | Self::PublicDns | Self::DnsBypass => Family::Bypass,
        }
    }
}

/// A purpose or a whole family, as clauses and stage settings name them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum PurposeSelector {
    /// Every purpose of a family.
    Family(Family),
    /// One purpose.
    Purpose(Purpose),
}

impl PurposeSelector {
    /// Whether a purpose is meant.
    #[must_use]
    pub fn covers(self, purpose: Purpose) -> bool {
        match self {
            Self::Family(family) => purpose.family() == family,
            Self::Purpose(one) => one == purpose,
        }
    }
}

impl std::str::FromStr for PurposeSelector {
    type Err = super::UnknownWord;

    /// Reads a family or a purpose; a word that is both (`update`, `telemetry`, `licensing`, `web`) means the family.
    fn from_str(word: &str) -> Result<Self, Self::Err> {
        word.parse().map(Self::Family).or_else(|_| word.parse().map(Self::Purpose))
    }
}

impl std::fmt::Display for PurposeSelector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Family(family) => f.pad(family.as_str()),
            Self::Purpose(purpose) => f.pad(purpose.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_read_back_and_foreign_words_name_the_known_ones() {
        for purpose in Purpose::ALL {
            assert_eq!(purpose.as_str().parse(), Ok(*purpose));
        }
        let error = "updates".parse::<Purpose>().unwrap_err().to_string();
        assert!(error.contains("\"updates\" is no Purpose") && error.contains("oem-update"), "{error}");
    }

    #[test]
    fn a_word_that_is_both_means_the_family() {
        assert_eq!("update".parse(), Ok(PurposeSelector::Family(Family::Update)));
        assert_eq!("push".parse(), Ok(PurposeSelector::Purpose(Purpose::Push)));
    }
}

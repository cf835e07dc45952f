//! Moments as `MessagePack` has them, and as a calendar does. Days are counted as in Howard Hinnant's `chrono` algorithms.

use super::Refusal;

/// A moment: seconds since 1970 in UTC, and nanoseconds below 1,000,000,000 after that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timestamp {
    pub seconds: i64,
    pub nanoseconds: u32,
}

/// A date and a time of day in UTC; the years 1 to 9999.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Civil {
    pub year: i32,
    pub month: u8,
    pub day: u8,
    pub hour: u8,
    pub minute: u8,
    pub second: u8,
    pub nanosecond: u32,
}

const DAY: i64 = 86_400;
/// 400 years of the Gregorian calendar.
const ERA: i64 = 146_097;
/// Days from the first of March of year 0 to 1970.
const EPOCH: i64 = 719_468;
/// The first second of year 1 and of year 10,000.
const YEARS: std::ops::Range<i64> = -62_135_596_800..253_402_300_800;

impl Timestamp {
    /// Reads the bytes of the extension.
    pub fn parse(bytes: &[u8], at: usize) -> Result<Self, Refusal> {
        // All three forms, with zeros in front: 4 bytes of nanoseconds, 8 of seconds.
        let mut whole = [0; 12];
        match bytes.len() {
            4 | 8 | 12 => whole[12 - bytes.len()..].copy_from_slice(bytes),
            _ => return Err(Refusal::Payload { what: "a timestamp of another length than 4, 8 or 12", at }),
        }
        let (_, last) = whole.split_at(4);
        let mut seconds = i64::from_be_bytes(last.try_into().unwrap_or_default());
        let mut nanoseconds = u32::from_be_bytes([whole[0], whole[1], whole[2], whole[3]]);
        if bytes.len() == 8 {
            nanoseconds = (seconds.cast_unsigned() >> 34) as u32;
            seconds &= (1 << 34) - 1;
        }
        let read = Self { seconds, nanoseconds };
        if !read.is_in_range() {
            return Err(Refusal::Payload { what: "a timestamp outside of the years 1 to 9999", at });
        }
        Ok(read)
    }

    /// Whether a calendar of the years 1 to 9999 has it.
    pub fn is_in_range(self) -> bool {
        self.nanoseconds < 1_000_000_000 && YEARS.contains(&self.seconds)
    }

    pub fn civil(self) -> Civil {
        let (days, rest) = (self.seconds.div_euclid(DAY) + EPOCH, self.seconds.rem_euclid(DAY) as u32);
        let (era, of_era) = (days.div_euclid(ERA), days.rem_euclid(ERA));
        let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * of_year + 2) / 153;
        let day = of_year - (153 * from_march + 2) / 5 + 1;
        let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        Civil {
            year: year as i32,
            month: month as u8,
            day: day as u8,
            hour: (rest / 3_600) as u8,
            minute: (rest / 60 % 60) as u8,
            second: (rest % 60) as u8,
            nanosecond: self.nanoseconds,
        }
    }
}

impl Civil {
    /// The moment at which a clock `offset` seconds ahead of UTC shows this.
    pub fn timestamp(self, offset: i64) -> Timestamp {
        let year = i64::from(self.year) - i64::from(self.month <= 2);
        let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
        let from_march = (i64::from(self.month) + 9) % 12;
        let of_year = (153 * from_march + 2) / 5 + i64::from(self.day) - 1;
        let days = era * ERA + of_era * 365 + of_era / 4 - of_era / 100 + of_year - EPOCH;
        let of_day = i64::from(self.hour) * 3_600 + i64::from(self.minute) * 60 + i64::from(self.second);
        Timestamp { seconds: days * DAY + of_day - offset, nanoseconds: self.nanosecond }
    }
}

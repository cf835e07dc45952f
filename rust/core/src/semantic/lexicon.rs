//! Closed word lists: function words, question words, negations, opposites, units and contractions, as hashes.
//!
//! English first, with the most common signs of other languages. What is not listed is a content word.

use super::words::hash;

/// Function words: they carry grammar, little of the topic. Negations, question words and directions are lists of their own.
const STOP: &str = "a an the this that these those there here it its i me my mine myself we us our ours you your yours \
yourself he him his she her hers they them their theirs one ones someone somebody anyone anybody everyone people thing \
things something anything be is am are was were been being do does did doing done have has had having will would shall \
should can could may might must ought get gets getting got let lets go going of in at by for as about into onto than then \
so such and or but if else because while also just really actually very too quite much many more some any each every \
both other another own same else please tell know want need like would explain help thanks thank hi hello hey ok okay \
with on to from out s t d ll m re ve us etc eg ie vs via per upon among within \
der die das ein eine ist und le la les un une des est et el los las una es y de del di il lo e o os um uma que do da";

const QUESTION: [(&str, u8); 22] = [
    ("what", 1),
    ("whats", 1),
    ("which", 1),
    ("how", 2),
    ("why", 3),
    ("who", 4),
    ("whom", 4),
    ("whose", 4),
    ("where", 5),
    ("when", 6),
    ("is", 7),
    ("are", 7),
    ("was", 7),
    ("were", 7),
    ("do", 7),
    ("does", 7),
    ("did", 7),
    ("can", 7),
    ("could", 7),
    ("will", 7),
    ("should", 7),
    ("has", 7),
];

const NEGATION: &str = "not no never none nobody nothing nowhere neither nor without cannot hardly barely \
scarcely nicht kein keine nie pas jamais non sin nunca nem não nao 不 没 無 无 未 非 别 勿 ない нет не";

/// Words that say no without a `not`: what one side denies the other claims.
const DENIAL: &str = "fail fails failed failing refuse refuses refused refusing deny denies denied denying unable incapable \
impossible lack lacks lacked lacking devoid absent missing prevent prevents prevented preventing prohibit prohibits prohibited \
forbid forbids forbidden ban bans banned neglect neglects neglected exclude excludes excluded excluding omit omits \
omitted except excepting instead unlikely rarely seldom false untrue cease ceases ceased ceasing skip skips skipped skipping \
avoid avoids avoided avoiding refrain refrains refrained decline declines declined reject rejects rejected rejecting \
unsuccessful unsuccessfully";

/// Beginnings that turn a word into its opposite.
const CONTRARY: [&str; 8] = ["un", "in", "im", "ir", "il", "dis", "non", "mis"];

/// Words that ask for another part of the same thing: `how many`, `how long` are other questions than `how`.
const MEASURE: &str = "many much long far often old tall big deep fast soon high heavy wide";

/// Opposites: what stands on one side answers another question than what stands on the other.
const OPPOSITES: &str = "on/off enable/disable enabled/disabled activate/deactivate before/after up/down with/without in/out \
inside/outside into/out open/close open/shut start/stop begin/end first/last increase/decrease increase/reduce raise/lower \
rise/fall gain/lose win/lose buy/sell import/export upload/download push/pull send/receive add/remove add/subtract \
add/delete insert/delete create/delete create/destroy install/uninstall connect/disconnect attach/detach lock/unlock \
encrypt/decrypt encode/decode compress/decompress zip/unzip mount/unmount subscribe/unsubscribe follow/unfollow block/unblock \
mute/unmute show/hide login/logout signin/signout accept/reject accept/decline approve/reject approve/deny allow/deny \
allow/forbid allow/block allow/prevent permit/forbid grant/revoke include/exclude include/omit min/max minimum/maximum \
minimize/maximize more/less more/fewer most/least best/worst better/worse good/bad good/evil high/low higher/lower \
highest/lowest big/small large/small larger/smaller largest/smallest long/short longer/shorter longest/shortest tall/short \
fast/slow faster/slower fastest/slowest quick/slow hot/cold warm/cool new/old young/old newest/oldest early/late \
earlier/later light/dark light/heavy strong/weak hard/soft hard/easy difficult/easy simple/complex cheap/expensive rich/poor \
wet/dry full/empty thick/thin wide/narrow deep/shallow near/far left/right top/bottom upper/lower north/south east/west \
above/below over/under front/back forward/backward forwards/backwards ascending/descending horizontal/vertical row/column \
positive/negative true/false yes/no right/wrong correct/incorrect valid/invalid legal/illegal possible/impossible \
likely/unlikely safe/dangerous safe/unsafe secure/insecure public/private internal/external local/remote local/global \
input/output read/write load/save get/set push/pop lend/borrow give/take teach/learn ask/answer love/hate like/dislike \
like/hate agree/disagree appear/disappear arrive/leave arrive/depart enter/exit enter/leave deposit/withdraw \
withdraw/deposit debit/credit charge/refund income/expense profit/loss asset/liability supply/demand employer/employee \
lender/borrower landlord/tenant male/female man/woman men/women boy/girl boys/girls boyfriend/girlfriend husband/wife \
father/mother dad/mom son/daughter brother/sister king/queen he/she him/her advantage/disadvantage advantages/disadvantages \
pro/con pros/cons benefit/risk benefits/risks success/failure succeed/fail pass/fail alive/dead live/die birth/death \
born/died sick/healthy happy/sad always/never all/none everything/nothing many/few much/little same/different \
similar/different equal/unequal even/odd single/married ancient/modern past/future day/night morning/evening summer/winter \
increase/lower gaining/losing attack/defend friend/enemy hero/villain virtual/physical analog/digital manual/automatic \
manually/automatically sync/async synchronous/asynchronous static/dynamic mutable/immutable lossy/lossless finite/infinite \
expand/collapse expand/shrink grow/shrink build/destroy hire/fire strengthen/weaken tighten/loosen freeze/unfreeze \
freeze/thaw melt/freeze inhale/exhale dominant/recessive acute/chronic benign/malignant union/intersection client/server \
parent/child ancestor/descendant host/guest sender/recipient sender/receiver producer/consumer source/destination \
source/target prefix/suffix serial/parallel major/minor senior/junior superior/inferior frequent/rare common/rare \
often/rarely partly/fully partially/completely nearly/fully brief/long visible/invisible known/unknown fixed/variable \
liquid/solid north/southern northern/southern eastern/western add/deduct optional/mandatory optional/required \
hotter/colder warmer/cooler warmer/colder continue/discontinue sparse/dense sparsely/densely ancient/recent temporary/permanent \
开/关 上/下 前/后 增/减 大/小 多/少 左/右 内/外 入/出 早/晚 高/低 长/短 快/慢 新/旧 买/卖 男/女 開/閉 増/減 \
an/aus mit/ohne vor/nach con/sin avec/sans";

const UNITS: &str = "ms=millisecond,milliseconds,msec s=sec,secs,second,seconds min=mins,minute,minutes \
h=hr,hrs,hour,hours d=day,days wk=week,weeks mo=month,months yr=yrs,year,years kg=kgs,kilo,kilos,kilogram,kilograms \
g=gram,grams,gm mg=milligram,milligrams lb=lbs oz=ounce,ounces t=ton,tons,tonne,tonnes \
km=kms,kilometer,kilometers,kilometre,kilometres m=meter,meters,metre,metres cm=centimeter,centimeters,centimetre \
mm=millimeter,millimeters mi=mile,miles inch=inches ft=foot,feet yd=yard,yards l=liter,liters,litre,litres \
ml=milliliter,milliliters gal=gallon,gallons kb=kilobyte,kilobytes mb=megabyte,megabytes gb=gigabyte,gigabytes \
tb=terabyte,terabytes kib=kib mib=mib gib=gib kbps=kbps mbps=mbps gbps=gbps %=percent,percentage,pct \
$=usd,dollar,dollars,bucks €=eur,euro,euros £=gbp,quid ₹=inr,rs,rupee,rupees ¥=yen,jpy,yuan,rmb \
c=celsius,°c f=fahrenheit,°f kwh=kwh w=watt,watts kw=kilowatt,kilowatts v=volt,volts hz=hertz khz=khz mhz=mhz ghz=ghz \
px=pixel,pixels mph=mph kmh=kph deg=degree,degrees";

const NUMBERS: [(&str, u32); 27] = [
    ("two", 2),
    ("three", 3),
    ("four", 4),
    ("five", 5),
    ("six", 6),
    ("seven", 7),
    ("eight", 8),
    ("nine", 9),
    ("ten", 10),
    ("eleven", 11),
    ("twelve", 12),
    ("thirteen", 13),
    ("fourteen", 14),
    ("fifteen", 15),
    ("sixteen", 16),
    ("seventeen", 17),
    ("eighteen", 18),
    ("nineteen", 19),
    ("twenty", 20),
    ("thirty", 30),
    ("forty", 40),
    ("fifty", 50),
    ("sixty", 60),
    ("seventy", 70),
    ("eighty", 80),
    ("ninety", 90),
    ("zero", 0),
];

/// Contractions written without their apostrophe.
const BARE: &str = "dont=do,not doesnt=does,not didnt=did,not cant=can,not wont=will,not isnt=is,not arent=are,not \
wasnt=was,not werent=were,not couldnt=could,not shouldnt=should,not wouldnt=would,not havent=have,not hasnt=has,not \
hadnt=had,not mustnt=must,not aint=is,not cannot=can,not whats=what,is hows=how,is wheres=where,is whos=who,is \
whens=when,is whys=why,is thats=that,is theres=there,is heres=here,is im=i,am ive=i,have youre=you,are youve=you,have \
theyre=they,are theyve=they,have weve=we,have youll=you,will theyll=they,will itll=it,will gonna=going,to wanna=want,to \
dunno=do,not,know lemme=let,me";

/// The word without a beginning that turns it into its opposite.
pub(super) fn affirmed(word: &str) -> Option<&str> {
    CONTRARY.iter().find_map(|beginning| word.strip_prefix(beginning)).filter(|rest| rest.len() >= 4 && rest.is_ascii())
}

/// What a word is, as far as a list knows it.
#[derive(Clone, Copy, Default)]
#[allow(clippy::struct_excessive_bools)] // lists it may stand in, each on its own
pub(super) struct Known {
    pub(super) stop: bool,
    pub(super) negation: bool,
    pub(super) denial: bool,
    pub(super) measure: bool,
    /// 1 what, 2 how, 3 why, 4 who, 5 where, 6 when, 7 yes or no; 0 none.
    pub(super) question: u8,
}

/// Keys are hashes already.
#[derive(Clone, Copy, Default)]
struct Hashed(u64);

impl std::hash::Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    fn write(&mut self, _: &[u8]) {}

    fn write_u32(&mut self, value: u32) {
        self.0 = self.0.rotate_left(32) ^ u64::from(value);
    }
}

type Build = std::hash::BuildHasherDefault<Hashed>;
type Map<V> = hashbrown::HashMap<u32, V, Build>;

/// All lists by hash, built once.
pub(super) struct Lexicon {
    known: Map<Known>,
    units: Map<u32>,
    numbers: Map<u32>,
    bare: Map<Vec<&'static str>>,
    opposites: hashbrown::HashSet<(u32, u32), Build>,
    /// Words that have an opposite at all.
    opposed: Map<&'static str>,
}

static LEXICON: std::sync::LazyLock<Lexicon> = std::sync::LazyLock::new(Lexicon::build);

pub(super) fn lexicon() -> &'static Lexicon {
    &LEXICON
}

/// An order-free pair.
const fn pair(a: u32, b: u32) -> (u32, u32) {
    if a < b { (a, b) } else { (b, a) }
}

impl Lexicon {
    fn build() -> Self {
        let mut known = Map::<Known>::default();
        for word in STOP.split_whitespace() {
            known.entry(hash(word)).or_default().stop = true;
        }
        for (word, class) in QUESTION {
            let entry = known.entry(hash(word)).or_default();
            entry.question = class;
            entry.stop = true;
        }
        for word in NEGATION.split_whitespace() {
            let entry = known.entry(hash(word)).or_default();
            entry.negation = true;
            entry.stop = true;
        }
        for word in DENIAL.split_whitespace() {
            known.entry(hash(word)).or_default().denial = true;
        }
        for word in MEASURE.split_whitespace() {
            known.entry(hash(word)).or_default().measure = true;
        }
        let mut units = Map::default();
        for group in UNITS.split_whitespace() {
            let (name, others) = group.split_once('=').unwrap_or((group, ""));
            units.insert(hash(name), hash(name));
            units.extend(others.split(',').map(|other| (hash(other), hash(name))));
        }
        let (mut opposites, mut opposed) = (hashbrown::HashSet::with_hasher(Build::default()), Map::default());
        for both in OPPOSITES.split_whitespace() {
            let (left, right) = both.split_once('/').unwrap_or((both, both));
            opposites.insert(pair(hash(left), hash(right)));
            opposed.insert(hash(left), left);
            opposed.insert(hash(right), right);
        }
        Self {
            known,
            units,
            numbers: NUMBERS.iter().map(|&(word, value)| (hash(word), value)).collect(),
            bare: BARE
                .split_whitespace()
                .filter_map(|group| group.split_once('='))
                .map(|(word, parts)| (hash(word), parts.split(',').collect()))
                .collect(),
            opposites,
            opposed,
        }
    }

    pub(super) fn known(&self, word: u32) -> Known {
        self.known.get(&word).copied().unwrap_or_default()
    }

    /// The unit's canonical hash, or 0.
    pub(super) fn unit(&self, word: u32) -> u32 {
        self.units.get(&word).copied().unwrap_or(0)
    }

    pub(super) fn number(&self, word: u32) -> Option<u32> {
        self.numbers.get(&word).copied()
    }

    pub(super) fn bare(&self, word: u32) -> Option<&[&'static str]> {
        self.bare.get(&word).map(Vec::as_slice)
    }

    pub(super) fn has_opposite(&self, word: u32) -> bool {
        self.opposed.contains_key(&word)
    }

    /// Whether the two are opposites.
    pub(super) fn opposite(&self, a: u32, b: u32) -> bool {
        self.opposites.contains(&pair(a, b))
    }

    /// The word as listed, for a reason shown to people.
    pub(super) fn spelling(&self, word: u32) -> &'static str {
        self.opposed.get(&word).copied().unwrap_or("")
    }
}

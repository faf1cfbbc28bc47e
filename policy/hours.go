package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // time zones are known in an image without files too
)

// Hours are times of the week. All of it is optional but for one of the keys.
type Hours struct {
	Days []string `yaml:"days" doc:"mon, tue, wed, thu, fri, sat, sun, or a range such as mon-fri; when absent, every day"`
	From string   `yaml:"from" doc:"when the hours begin, such as 08:00; when absent, 00:00"`
	To   string   `yaml:"to" doc:"when they end, such as 18:30; when absent, 24:00; a time before from is on the next day"`
	Zone string   `yaml:"zone" doc:"the time zone, such as Europe/Berlin; when absent, UTC"`
}

// String writes the hours as "mon-fri 08:00-18:00 Europe/Berlin".
func (h *Hours) String() string {
	words := []string{strings.Join(h.Days, ", "), "", h.Zone}
	if h.From != "" || h.To != "" {
		words[1] = cmp.Or(h.From, "00:00") + "-" + cmp.Or(h.To, "24:00")
	}
	return strings.Join(slices.DeleteFunc(words, func(word string) bool { return word == "" }), " ")
}

// schedule is compiled Hours: on each of days a window begins at from and ends at to,
// in minutes after midnight.
type schedule struct {
	days     [7]bool // by time.Weekday
	from, to int
	zone     *time.Location
}

const minutesPerDay = 24 * 60

func (h *Hours) compile(fault faultFunc) (s schedule) {
	s.zone, s.to = time.UTC, minutesPerDay
	if h.From != "" {
		s.from = parseClock(h.From, below(".from", fault))
	}
	if h.To != "" {
		s.to = parseClock(h.To, below(".to", fault))
	}
	switch {
	case s.from < 0 || s.to < 0: // reported
	case s.from == s.to:
		fault("", "begins when it ends; leave from and to out for the whole day")
	case s.from == minutesPerDay:
		fault(".from", "24:00 is the end of a day; write 00:00")
	case s.to < s.from:
		s.to += minutesPerDay
	}
	if h.Zone != "" {
		s.zone = parseZone(h.Zone, below(".zone", fault))
	}
	s.days = parseDays(h.Days, below(".days", fault))
	return s
}

// parseZone reads no file that the configuration could name: a zone is a name of the
// IANA database.
func parseZone(name string, fault faultFunc) *time.Location {
	zone, err := time.LoadLocation(name)
	if err != nil || name == "Local" {
		fault("", fmt.Sprintf("%q is no time zone; write a name such as Europe/Berlin or UTC", name))
		return time.UTC
	}
	return zone
}

// parseClock returns the minutes after midnight, or -1.
func parseClock(text string, fault faultFunc) int {
	if text == "24:00" {
		return minutesPerDay
	}
	t, err := time.Parse("15:04", text)
	if err != nil || len(text) != len("15:04") {
		fault("", fmt.Sprintf("%q is no time of day; write it as 08:00", text))
		return -1
	}
	return t.Hour()*60 + t.Minute()
}

var dayNames = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

func parseDays(texts []string, fault faultFunc) (days [7]bool) {
	if len(texts) == 0 {
		return [7]bool{true, true, true, true, true, true, true}
	}
	for i, text := range texts {
		first, last, ok := parseDayRange(text)
		if !ok {
			fault(index(i), fmt.Sprintf("%q is no day; write one of %s, or a range such as mon-fri", text, strings.Join(dayNames, ", ")))
			continue
		}
		for day := first; ; day = (day + 1) % 7 {
			days[day] = true
			if day == last {
				break
			}
		}
	}
	return days
}

func parseDayRange(text string) (first, last int, ok bool) {
	from, to, isRange := strings.Cut(text, "-")
	if !isRange {
		to = from
	}
	first, last = dayOf(from), dayOf(to)
	return first, last, first >= 0 && last >= 0
}

func dayOf(name string) int {
	for day, known := range dayNames {
		if name == known {
			return day
		}
	}
	return -1
}

// window returns the window that begins on the day of t, moved by some days.
func (s *schedule) window(t time.Time, days int) (from, to time.Time, ok bool) {
	year, month, day := t.In(s.zone).Date()
	midnight := func(minutes int) time.Time { return time.Date(year, month, day+days, 0, minutes, 0, 0, s.zone) }
	from, to = midnight(s.from), midnight(s.to)
	return from, to, s.days[time.Date(year, month, day+days, 12, 0, 0, 0, time.UTC).Weekday()]
}

// A window that is open at a time is that of its day, of a day before, if it goes on past midnight, or of the next one, if
// the zone skips a day: times on a skipped day are times of a day beside it.
const earliest, latest = -2, 1

// contains reports whether t is in a window.
func (s *schedule) contains(t time.Time) bool {
	for days := earliest; days <= latest; days++ {
		if from, to, ok := s.window(t, days); ok && !t.Before(from) && t.Before(to) {
			return true
		}
	}
	return false
}

// change returns the first time after t at which a window begins or ends.
func (s *schedule) change(t time.Time) (next time.Time) {
	for days := earliest; days <= 8; days++ { // a week, and a day that the zone may skip
		from, to, ok := s.window(t, days)
		for _, end := range [...]time.Time{from, to} {
			if ok && end.After(t) {
				next = Earlier(next, end)
			}
		}
	}
	return next
}

func compileHours(m *Match, _ bool) (matcher, error) {
	s := m.Hours.compile(func(string, string) {})
	return func(req *Request) bool { return s.contains(req.Time) }, nil
}

func hoursChange(m *Match) changer {
	s := m.Hours.compile(func(string, string) {})
	return func(req *Request) time.Time { return s.change(req.Time) }
}

func checkHours(m *Match, _ Options, fault faultFunc) { m.Hours.compile(fault) }

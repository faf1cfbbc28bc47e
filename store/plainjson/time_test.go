package plainjson_test

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"sallyport/store/plainjson"
)

// FuzzReader_Time: a time is read as encoding/json reads it, however it is written, or not at all.
func FuzzReader_Time(f *testing.F) {
	for _, at := range []string{"2026-11-29T22:44:41.060871011Z", "2026-11-29T22:44:41Z", "0001-01-01T00:00:00Z", "0000-01-01T00:00:00Z", "9999-12-31T23:59:59.999999999Z", "2024-02-29T00:00:00.5Z"} {
		f.Add(at)
	}
	for _, other := range []string{"", "Z", "2026-02-29T00:00:00Z", "2100-02-29T00:00:00Z", "2026-04-31T00:00:00Z", "2026-00-01T00:00:00Z", "2026-13-01T00:00:00Z", "2026-01-00T00:00:00Z", "2026-01-32T00:00:00Z",
		"2026-01-01T24:00:00Z", "2026-01-01T23:60:00Z", "2026-01-01T23:59:60Z", "2026-01-01T23:59:59.Z", "2026-01-01T23:59:59.1234567891Z", "2026-01-01T23:59:59,5Z", "2026-01-01T3:59:59Z", "2026-01-01t00:00:00z",
		"2026-01-01T00:00:00", "2026-01-01T00:00:00+00:00", "2026-01-01T00:00:00-00:00", "2026-01-01T00:00:00.25+01:30", "2026-01-01T00:00:00+24:00", "2026-01-01 00:00:00Z", "2026-01-01T00:00:00ZZ", "+026-01-01T00:00:00Z", "20260-01-01T00:00:00Z"} {
		f.Add(other)
	}
	f.Fuzz(func(t *testing.T, at string) {
		text := []byte(`{"at":"` + at + `"}`)
		var want struct {
			At time.Time `json:"at"`
		}
		err := json.Unmarshal(text, &want)
		object := plainjson.New(text)
		object.Next()
		got := object.Time()
		if read := object.End(); read && (err != nil || !reflect.DeepEqual(got, want.At)) {
			t.Errorf("%s is read as %v, by encoding/json as %v, %v", text, got, want.At, err)
		}
	})
}

// TestReader_Time_ReadsWhatIsWritten: no time that is stored needs encoding/json.
func TestReader_Time_ReadsWhatIsWritten(t *testing.T) {
	for day := time.Date(1999, 12, 31, 23, 59, 59, 987654321, time.UTC); day.Year() < 2005; day = day.Add(23*time.Hour + 59*time.Minute + 59*time.Second + 999*time.Microsecond) {
		for _, want := range []time.Time{day, day.Truncate(time.Second), day.Truncate(time.Millisecond)} {
			text, err := json.Marshal(struct{ At time.Time }{want})
			if err != nil {
				t.Fatal(err)
			}
			object := plainjson.New(text)
			object.Next()
			if got := object.Time(); !object.End() || !reflect.DeepEqual(got, want) {
				t.Errorf("%s is read as %v", text, got)
			}
		}
	}
}

func BenchmarkReader_Time(b *testing.B) {
	text := []byte(`{"at":"2026-11-29T22:44:41.060871011Z"}`)
	b.ReportAllocs()
	for b.Loop() {
		object := plainjson.New(text)
		object.Next()
		if object.Time(); !object.End() {
			b.Fatal("the time is not read")
		}
	}
}

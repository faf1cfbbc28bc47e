package audit

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"time"
)

// appendFields appends a line up to its hash. It is written by hand because every
// request has a line; the result equals that of encoding/json, byte for byte.
func (l line) appendFields(to []byte) []byte {
	to = append(to, `{"seq":`...)
	to = strconv.AppendUint(to, l.Seq, 10)
	to = append(to, `,"time":"`...)
	to = l.Time.AppendFormat(to, time.RFC3339Nano)
	to = append(to, `","kind":`...)
	to = appendText(to, string(l.Kind))
	to = appendField(to, `,"replica":`, l.Replica)
	to = appendActor(to, l.Actor)
	for _, field := range [...]struct{ name, text string }{
		{`,"request":`, l.Request}, {`,"user":`, l.User}, {`,"user_name":`, l.UserName}, {`,"group":`, l.Group}, {`,"session":`, l.Session},
		{`,"route":`, l.Route}, {`,"host":`, l.Host}, {`,"method":`, l.Method}, {`,"path":`, l.Path}, {`,"address":`, l.Address},
	} {
		to = appendField(to, field.name, field.text)
	}
	if l.Code != 0 {
		to = strconv.AppendInt(append(to, `,"code":`...), int64(l.Code), 10)
	}
	to = appendField(to, `,"decision":`, l.Decision)
	to = appendField(to, `,"rule":`, l.Rule)
	to = appendField(to, `,"reason":`, l.Reason)
	if l.Revision != 0 {
		to = strconv.AppendUint(append(to, `,"rev":`...), l.Revision, 10)
	}
	to = appendDetail(to, l.Detail)
	return appendText(append(to, `,"prev":`...), l.Prev)
}

func appendField(to []byte, name, text string) []byte {
	if text == "" {
		return to
	}
	return appendText(append(to, name...), text)
}

func appendActor(to []byte, a Actor) []byte {
	if a == (Actor{}) {
		return to
	}
	to = append(to, `,"actor":{`...)
	begin := len(to)
	to = appendField(to, `,"kind":`, string(a.Kind))
	to = appendField(to, `,"name":`, a.Name)
	to = appendField(to, `,"address":`, a.Address)
	to = appendField(to, `,"id":`, a.ID)
	to = appendField(to, `,"session":`, a.Session)
	to = appendField(to, `,"role":`, a.Role)
	return append(slices.Delete(to, begin, begin+1), '}') // without the first comma
}

func appendDetail(to []byte, detail map[string]string) []byte {
	if len(detail) == 0 {
		return to
	}
	to = append(to, `,"detail":{`...)
	for i, name := range slices.Sorted(maps.Keys(detail)) {
		if i > 0 {
			to = append(to, ',')
		}
		to = append(appendText(to, name), ':')
		to = appendText(to, detail[name])
	}
	return append(to, '}')
}

// appendText appends text as a JSON string: plain ASCII directly, anything else as
// encoding/json writes it.
func appendText(to []byte, text string) []byte {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return append(to, encodeText(text)...)
		}
	}
	return append(append(append(to, '"'), text...), '"')
}

func encodeText(text string) []byte {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(text); err != nil {
		panic(err) // cannot happen: every string can be encoded
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n"))
}

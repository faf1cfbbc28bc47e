package audit

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"time"
)

// appendLine appends a line up to its hash, of which event is the fields of the event. It is written by hand because every
// request has a line; the result equals that of encoding/json, byte for byte.
func appendLine(to []byte, seq uint64, event []byte, prev string) []byte {
	to = strconv.AppendUint(append(to, `{"seq":`...), seq, 10)
	return appendText(append(append(to, event...), `,"prev":`...), prev)
}

// appendFields appends the fields of the event, with a comma before each.
func (e *Event) appendFields(to []byte) []byte {
	to = append(to, `,"time":"`...)
	to = e.Time.AppendFormat(to, time.RFC3339Nano)
	to = append(to, `","kind":`...)
	to = appendText(to, string(e.Kind))
	to = appendField(to, `,"replica":`, e.Replica)
	to = appendActor(to, e.Actor)
	for _, field := range [...]struct{ name, text string }{
		{`,"request":`, e.Request}, {`,"user":`, e.User}, {`,"user_name":`, e.UserName}, {`,"group":`, e.Group}, {`,"session":`, e.Session},
		{`,"route":`, e.Route}, {`,"host":`, e.Host}, {`,"method":`, e.Method}, {`,"path":`, e.Path}, {`,"address":`, e.Address},
	} {
		to = appendField(to, field.name, field.text)
	}
	if e.Code != 0 {
		to = strconv.AppendInt(append(to, `,"code":`...), int64(e.Code), 10)
	}
	to = appendField(to, `,"decision":`, e.Decision)
	to = appendField(to, `,"rule":`, e.Rule)
	to = appendField(to, `,"reason":`, e.Reason)
	if e.Revision != 0 {
		to = strconv.AppendUint(append(to, `,"rev":`...), e.Revision, 10)
	}
	return appendDetail(to, e.Detail)
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

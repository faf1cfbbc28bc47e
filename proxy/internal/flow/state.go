package flow

import (
	"strings"
	"time"
)

const (
	statePurpose  = "state"
	stateLifetime = 24 * time.Hour
	maxStateTo    = 1024 // bytes of a target that travels in state, compressed
)

// SealTarget seals target for the parameter state. It reports whether the whole target is in it; of one that is too long
// only the path is, or only the origin.
func (b Browser) SealTarget(target Target) (sealed string, complete bool, err error) {
	text := target.String()
	packed := deflate([]byte(text))
	if complete = len(packed) <= maxStateTo; !complete {
		path, _, _ := strings.Cut(text, "?")
		text, _, _ = strings.Cut(path, "#")
		if packed = deflate([]byte(text)); len(packed) > maxStateTo {
			packed = []byte(target.Origin + "/")
		}
	}
	sealed, err = b.Sessions.Seal(statePurpose, b.Host, packed, stateLifetime)
	return sealed, complete, err
}

// TargetIn returns the target that was sealed in state; "" for a state that is not ours.
func (b Browser) TargetIn(state string) string {
	_, carry, _ := strings.Cut(state, ".")
	carry, _, _ = strings.Cut(carry, ".") // before the mark of a fragment
	packed, err := b.Sessions.Unseal(statePurpose, b.Host, carry)
	if err != nil {
		return ""
	}
	text, err := inflate(packed)
	if err != nil {
		return ""
	}
	return string(text)
}

// HasFragment reports whether our page wrote into state that the browser keeps the fragment of the target (see
// [sallyport/console.Continue]). Anybody can write that: it only leads to the page that looks for the fragment.
func HasFragment(state string) bool {
	return strings.HasSuffix(state, ".f") && strings.Count(state, ".") == 2
}

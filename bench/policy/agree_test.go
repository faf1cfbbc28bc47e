package main

import "testing"

// TestEngines_DecideAlike decides the same requests by every engine, with few and with many rules.
func TestEngines_DecideAlike(t *testing.T) {
	for _, w := range []*world{newWorld(1, 50), newWorld(2, 50), newWorld(10, 50), newWorld(11, 200), newWorld(300, 50), newConditionalWorld(1, 50), newConditionalWorld(30, 200)} {
		engines, err := loadAll(t.Context(), w)
		if err != nil {
			t.Fatal(err)
		}
		allowed, err := agree(engines, w, 400)
		if err != nil {
			t.Error(err)
		}
		t.Logf("%d %s: %d of 400 requests are allowed", len(w.rules), w.what, allowed)
	}
}

// wrong is an engine that decides one request in ten otherwise than another.
type wrong struct {
	engine
	asked int
}

func (w *wrong) allows(r *request) (bool, error) {
	w.asked++
	allow, err := w.engine.allows(r)
	return allow != (w.asked%10 == 0), err
}

func TestAgree_FindsAnEngineThatDecidesOtherwise(t *testing.T) {
	w := newWorld(20, 50)
	right, err := loadSallyport(t.Context(), w)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := agree([]loaded{{name: "right", engine: right}, {name: "wrong", engine: &wrong{engine: right}}}, w, 50); err == nil {
		t.Error("an engine that decides otherwise was not found")
	}
}

package plainjson_test

import (
	"fmt"

	"sallyport/store/plainjson"
)

func Example() {
	for _, text := range []string{`{"name":"a","count":3}`, `{"name": "a"}`} {
		var name string
		var count uint64
		object := plainjson.New([]byte(text))
		for member, ok := object.Next(); ok; member, ok = object.Next() {
			switch string(member) {
			case "name":
				name = string(object.Text())
			case "count":
				count = object.Uint()
			default:
				object.Fail()
			}
		}
		fmt.Println(name, count, object.End())
	}
	// Output:
	// a 3 true
	//  0 false
}

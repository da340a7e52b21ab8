// Package shapes has code of every form that blocks can have.
package shapes

// Count is how often something was initialised.
var Count int

// A function literal outside of functions, with one inside.
var walk = func(n int, visit func(int)) {
	each := func(i int) {
		if i%2 == 0 {
			visit(i)
		}
	}
	for i := range make([]struct{}, n) {
		each(i)
	}
}

func init() { Count++ }

func init() {
	if Count > 1 {
		Count = 0
	}
	Count++
}

// Tree is a tree of any ordered things.
type Tree[K interface{ ~int | ~string }, V any] struct {
	Left, Right *Tree[K, V]
	Key         K
	Value       V
}

// Put sets a value.
func (t *Tree[K, V]) Put(key K, value V) *Tree[K, V] {
	switch {
	case t == nil:
		return &Tree[K, V]{Key: key, Value: value}
	case key < t.Key:
		t.Left = t.Left.Put(key, value)
	case key > t.Key:
		t.Right = t.Right.Put(key, value)
	default:
		t.Value = value
	}
	return t
}

// Each visits all values in order.
func (t *Tree[K, V]) Each(visit func(K, V) bool) bool {
	return t == nil || t.Left.Each(visit) && visit(t.Key, t.Value) && t.Right.Each(visit)
}

// Walk visits even numbers.
func Walk(n int, visit func(int)) { walk(n, visit) }

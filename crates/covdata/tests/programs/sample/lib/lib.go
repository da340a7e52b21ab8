// Package lib is what both commands use.
package lib

// Number is what can be summed.
type Number interface{ ~int | ~float64 | ~string }

// Sum adds up values of any one type.
func Sum[T Number](values []T) T {
	var sum T
	for _, v := range values {
		sum += v
	}
	return sum
}

// Apply calls f and logs.
func Apply(n int, f func(int) int) int {
	log := func(m int) {
		if m > 100 {
			panic("too large")
		}
	}
	defer func() {
		if r := recover(); r != nil {
			log(0)
		}
	}()
	m := f(n)
	log(m)
	return m
}

// Classify tells a number's sign.
func Classify(n int) string {
	if n < 0 {
		return "negative"
	} else if n == 0 {
		return "zero"
	}
	return "positive"
}

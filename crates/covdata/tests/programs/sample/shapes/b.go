package shapes

// The last function of the file before this one is no init, so that Go's own table has this one as well.
func init() { Count++ }

// Shape has an area.
type Shape interface{ Area() float64 }

type (
	square struct{ side float64 }
	circle struct{ radius float64 }
)

func (s square) Area() float64  { return s.side * s.side }
func (c *circle) Area() float64 { return 3 * c.radius * c.radius }

// Of makes a shape.
func Of(kind string, size float64) (shape Shape, err any) {
	defer func() { err = recover() }()
	switch kind {
	case "square":
		shape = square{size}
	case "circle":
		shape = &circle{size}
	default:
		panic("no shape")
	}
	return
}

// Sum adds what comes through a channel, until it is closed or another says stop.
func Sum(numbers <-chan int, stop <-chan struct{}) (sum int) {
loop:
	for {
		select {
		case n, ok := <-numbers:
			if !ok {
				break loop
			}
			sum += n
		case <-stop:
			goto end
		}
	}
	if sum > 100 {
		return 100
	} else if sum < 0 {
		return 0
	} else {
		sum++
	}
end:
	return sum
}

func _() { panic("never called") }

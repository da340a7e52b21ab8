module example.com/a

go 1.24

require (
	b.org/b v1.0.0 // indirect
)
replace b.org/b => ./b
replace c v1.0.0 => d.org/d v1.0.0

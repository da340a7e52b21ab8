module recode

go 1.20

; Sequences: kernels of arrays one after the other, by a list of commands (`sequences.py`).
;
; Each is a kernel itself: it takes a table of addresses, its *bases*, and the address of what it goes through.

; Go through commands, words of eight bytes each: a function, the address of its extents, the number of its addresses,
; and these: a base in the upper 16 bits (from one on, or zero for none), and bytes from there.  A function that is null
; ends the sequence, and so does a result that is not zero, which is returned.
define i32 @wengert_sequence(ptr %bases, ptr %commands) nounwind "probe-stack"="inline-asm" {
  %table = alloca [2048 x i64], align 16
  br label %command
command:
  %place = phi ptr [ %commands, %0 ], [ %next, %called ]
  %function = load ptr, ptr %place
  %over = icmp eq ptr %function, null
  br i1 %over, label %end, label %addresses
addresses:
  %extents.at = getelementptr i64, ptr %place, i64 1
  %extents = load ptr, ptr %extents.at
  %count.at = getelementptr i64, ptr %place, i64 2
  %count = load i64, ptr %count.at
  %words = getelementptr i64, ptr %place, i64 3
  %next = getelementptr i64, ptr %words, i64 %count
  %some = icmp ne i64 %count, 0
  br i1 %some, label %address, label %call
address:
  %k = phi i64 [ 0, %addresses ], [ %k.next, %address ]
  %word.at = getelementptr i64, ptr %words, i64 %k
  %word = load i64, ptr %word.at
  %base = lshr i64 %word, 48
  %bytes = and i64 %word, 281474976710655
  %none = icmp eq i64 %base, 0
  %before = sub i64 %base, 1
  %number = select i1 %none, i64 0, i64 %before
  %start.at = getelementptr i64, ptr %bases, i64 %number
  %start.there = load i64, ptr %start.at
  %start = select i1 %none, i64 0, i64 %start.there
  %address.there = add i64 %start, %bytes
  %table.at = getelementptr i64, ptr %table, i64 %k
  store i64 %address.there, ptr %table.at
  %k.next = add i64 %k, 1
  %more = icmp ult i64 %k.next, %count
  br i1 %more, label %address, label %call
call:
  %reason = call i32 %function(ptr %table, ptr %extents)
  %stops = icmp ne i32 %reason, 0
  br i1 %stops, label %stop, label %called
called:
  br label %command
stop:
  ret i32 %reason
end:
  ret i32 0
}

; Go through a sequence again and again.  The form of the loop: the address of the commands, the number of bases, the one
; (from one on) where the number of steps is, and the bytes by which each base moves on with a step.  A step that is not
; completed ends the loop, with its result; how many were completed stands in the place of their number.
define i32 @wengert_repeat(ptr %table, ptr %form) nounwind "probe-stack"="inline-asm" {
  %commands = load ptr, ptr %form
  %number.at = getelementptr i64, ptr %form, i64 1
  %number = load i64, ptr %number.at
  %counted.at = getelementptr i64, ptr %form, i64 2
  %counted = load i64, ptr %counted.at
  %moves = getelementptr i64, ptr %form, i64 3
  %counted.before = sub i64 %counted, 1
  %steps.at = getelementptr ptr, ptr %table, i64 %counted.before
  %steps.to = load ptr, ptr %steps.at
  %steps = load i64, ptr %steps.to
  %bases = alloca i64, i64 %number, align 16
  br label %copy
copy:
  %c = phi i64 [ 0, %0 ], [ %c.next, %copied ]
  %c.more = icmp ult i64 %c, %number
  br i1 %c.more, label %copied, label %step
copied:
  %c.from = getelementptr i64, ptr %table, i64 %c
  %c.base = load i64, ptr %c.from
  %c.to = getelementptr i64, ptr %bases, i64 %c
  store i64 %c.base, ptr %c.to
  %c.next = add i64 %c, 1
  br label %copy
step:
  %made = phi i64 [ 0, %copy ], [ %made.next, %moved ]
  %more = icmp slt i64 %made, %steps
  br i1 %more, label %make, label %end
make:
  %reason = call i32 @wengert_sequence(ptr %bases, ptr %commands)
  %stops = icmp ne i32 %reason, 0
  br i1 %stops, label %end, label %move
move:
  %m = phi i64 [ 0, %make ], [ %m.next, %on ]
  %m.more = icmp ult i64 %m, %number
  br i1 %m.more, label %on, label %moved
on:
  %m.bytes.at = getelementptr i64, ptr %moves, i64 %m
  %m.bytes = load i64, ptr %m.bytes.at
  %m.at = getelementptr i64, ptr %bases, i64 %m
  %m.base = load i64, ptr %m.at
  %m.new = add i64 %m.base, %m.bytes
  store i64 %m.new, ptr %m.at
  %m.next = add i64 %m, 1
  br label %move
moved:
  %made.next = add i64 %made, 1
  br label %step
end:
  %why = phi i32 [ 0, %step ], [ %reason, %make ]
  store i64 %made, ptr %steps.to
  ret i32 %why
}

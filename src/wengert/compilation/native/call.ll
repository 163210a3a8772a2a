; The function that CPython calls instead of `__call__` (its vectorcall protocol): one for all jitted functions.
;
; It reads a record, words of eight bytes that `record.py` lays out: what has to be as it was, the entries (one for each
; signature of the arguments), what a call is computed by otherwise.  It compares, finds an entry that takes the
; arguments, runs its kernel, and makes the results.  Where nothing takes the call, the fallback runs, or else the result
; is NotImplemented.
;
; Offsets in objects are those of CPython and NumPy that `layout.py` checks:
;   8 type, 16 size / value / contents / data of an array, 24 items / ndim, 32 shape, 56 dtype, 64 flags.

%Record = type { ptr, ptr, ptr, ptr, ptr, i64, ptr, ptr, ptr, i64, [0 x ptr] }
; keeper, NotImplemented, fallback, key of the open tapes, comparisons, their number, rest, all, True, number of entries, entries
%Comparison = type { i64, ptr, ptr, ptr, i64 }
%Entry = type { ptr, i64, i64, i64, i64, ptr, i64, ptr, i64, i64 }
; kernel, number of arguments, bytes of results, flags (1: releases the lock, 2: may raise), number of steps, steps,
; number of values, branches, number of branches, depth of the stack of results
%Step = type { i64, i64, ptr, ptr, i64, ptr, i64 }
; of the arguments: kind, number of the value, its type, object or dtype, size or ndim, keys or shape, flags
%Branch = type { i64, ptr }
%Make = type { i64, i64, ptr, i64, ptr, i64, i64, ptr }
; of the results: kind, offset, object or dtype, ndim or count, shape or keys, bytes, numbers to be finite, type

declare void @Py_IncRef(ptr)
declare void @Py_DecRef(ptr)
declare void @PyErr_Clear()
declare ptr @PyErr_Occurred()
declare ptr @PyThreadState_GetDict()
declare ptr @PyEval_SaveThread()
declare void @PyEval_RestoreThread(ptr)
declare ptr @PyDict_GetItemWithError(ptr, ptr)
declare i64 @PyDict_Size(ptr)
declare i32 @PyDict_Next(ptr, ptr, ptr, ptr)
declare ptr @PyDict_New()
declare i32 @PyDict_SetItem(ptr, ptr, ptr)
declare ptr @PyObject_GenericGetDict(ptr, ptr)
declare ptr @PyObject_GetAttr(ptr, ptr)
declare i32 @PyObject_RichCompareBool(ptr, ptr, i32)
declare ptr @PyObject_CallNoArgs(ptr)
declare ptr @PyObject_CallOneArg(ptr, ptr)
declare ptr @PyObject_Vectorcall(ptr, ptr, i64, ptr)
declare ptr @PyMethod_New(ptr, ptr)
declare ptr @PyFunction_GetCode(ptr)
declare ptr @PyFunction_GetDefaults(ptr)
declare ptr @PyFunction_GetKwDefaults(ptr)
declare ptr @PyFloat_FromDouble(double)
declare ptr @PyTuple_New(i64)
declare i32 @PyTuple_SetItem(ptr, i64, ptr)
declare ptr @PyList_New(i64)
declare i32 @PyList_SetItem(ptr, i64, ptr)
declare ptr @PyArray_NewFromDescr(ptr, ptr, i32, ptr, ptr, ptr, i32, ptr)
declare ptr @PyArray_Scalar(ptr, ptr, ptr)
declare i32 @memcmp(ptr, ptr, i64)
declare ptr @malloc(i64)
declare void @free(ptr)
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
declare double @llvm.fabs.f64(double)

; ---- The call ----

define ptr @call(ptr %self, ptr %args, i64 %nargs, ptr %names) nounwind "probe-stack"="inline-asm" {
  %class.at = getelementptr i8, ptr %self, i64 8
  %class = load ptr, ptr %class.at
  %offset.at = getelementptr i8, ptr %class, i64 56 ; tp_vectorcall_offset; the record stands after this function
  %offset = load i64, ptr %offset.at
  %function.at = getelementptr i8, ptr %self, i64 %offset
  %record.at = getelementptr ptr, ptr %function.at, i64 1
  %record = load ptr, ptr %record.at
  %keeper = load ptr, ptr %record
  call void @Py_IncRef(ptr %keeper)
  %not_implemented.at = getelementptr %Record, ptr %record, i64 0, i32 1
  %not_implemented = load ptr, ptr %not_implemented.at
  %count = and i64 %nargs, 9223372036854775807
  %positional = icmp eq ptr %names, null
  br i1 %positional, label %trace, label %miss

trace: ; a function that is traced records what it does
  %key.at = getelementptr %Record, ptr %record, i64 0, i32 3
  %key = load ptr, ptr %key.at
  %no.key = icmp eq ptr %key, null
  br i1 %no.key, label %surroundings, label %open
open:
  %thread = call ptr @PyThreadState_GetDict()
  %no.thread = icmp eq ptr %thread, null
  br i1 %no.thread, label %miss, label %tapes
tapes:
  %tapes.list = call ptr @PyDict_GetItemWithError(ptr %thread, ptr %key)
  %no.tapes = icmp eq ptr %tapes.list, null
  br i1 %no.tapes, label %miss, label %length
length:
  %length.at = getelementptr i8, ptr %tapes.list, i64 16
  %open.tapes = load i64, ptr %length.at
  %silent = icmp eq i64 %open.tapes, 0
  br i1 %silent, label %surroundings, label %miss

surroundings:
  %same = call i1 @unchanged(ptr %record)
  br i1 %same, label %entries, label %miss

entries:
  %number.at = getelementptr %Record, ptr %record, i64 0, i32 9
  %number = load i64, ptr %number.at
  br label %each
each:
  %k = phi i64 [ 0, %entries ], [ %k.next, %next ]
  %more = icmp ult i64 %k, %number
  br i1 %more, label %try, label %miss
try:
  %entry.at = getelementptr %Record, ptr %record, i64 0, i32 10, i64 %k
  %entry = load ptr, ptr %entry.at
  %expected.at = getelementptr %Entry, ptr %entry, i64 0, i32 1
  %expected = load i64, ptr %expected.at
  %fits = icmp eq i64 %expected, %count
  br i1 %fits, label %run, label %next
run:
  %result = call ptr @enter(ptr %entry, ptr %args, ptr %not_implemented)
  %refused = icmp eq ptr %result, %not_implemented
  br i1 %refused, label %next, label %end
next:
  %k.next = add i64 %k, 1
  br label %each
end:
  call void @Py_DecRef(ptr %keeper)
  ret ptr %result

miss:
  call void @PyErr_Clear()
  %fallback.at = getelementptr %Record, ptr %record, i64 0, i32 2
  %fallback = load ptr, ptr %fallback.at
  %none = icmp eq ptr %fallback, null
  br i1 %none, label %refuse, label %bind
refuse:
  call void @Py_IncRef(ptr %not_implemented)
  call void @Py_DecRef(ptr %keeper)
  ret ptr %not_implemented
bind:
  %method = call ptr @PyMethod_New(ptr %fallback, ptr %self)
  call void @Py_DecRef(ptr %keeper)
  %no.method = icmp eq ptr %method, null
  br i1 %no.method, label %fail, label %python
python:
  %computed = call ptr @PyObject_Vectorcall(ptr %method, ptr %args, i64 %nargs, ptr %names)
  call void @Py_DecRef(ptr %method)
  ret ptr %computed
fail:
  ret ptr null
}

; ---- What has to be as it was ----

define internal i1 @unchanged(ptr %record) nounwind {
  %comparisons.at = getelementptr %Record, ptr %record, i64 0, i32 4
  %comparisons = load ptr, ptr %comparisons.at
  %number.at = getelementptr %Record, ptr %record, i64 0, i32 5
  %number = load i64, ptr %number.at
  %rest.at = getelementptr %Record, ptr %record, i64 0, i32 6
  %rest = load ptr, ptr %rest.at
  %all.at = getelementptr %Record, ptr %record, i64 0, i32 7
  %all = load ptr, ptr %all.at
  %true.at = getelementptr %Record, ptr %record, i64 0, i32 8
  %true = load ptr, ptr %true.at
  br label %each
each:
  %k = phi i64 [ 0, %0 ], [ %k.next, %holds ]
  %dict = phi ptr [ null, %0 ], [ %dict.next, %holds ]
  %more = icmp ult i64 %k, %number
  br i1 %more, label %compare, label %others

compare:
  %kind.at = getelementptr %Comparison, ptr %comparisons, i64 %k, i32 0
  %a.at = getelementptr %Comparison, ptr %comparisons, i64 %k, i32 1
  %b.at = getelementptr %Comparison, ptr %comparisons, i64 %k, i32 2
  %c.at = getelementptr %Comparison, ptr %comparisons, i64 %k, i32 3
  %d.at = getelementptr %Comparison, ptr %comparisons, i64 %k, i32 4
  %kind = load i64, ptr %kind.at
  %a.own = load ptr, ptr %a.at
  %b = load ptr, ptr %b.at
  %c = load ptr, ptr %c.at
  %d = load i64, ptr %d.at
  %b.number = ptrtoint ptr %b to i64
  %latest = icmp eq ptr %a.own, null
  %a = select i1 %latest, ptr %dict, ptr %a.own
  %field = getelementptr i8, ptr %a, i64 %b.number
  switch i64 %kind, label %differs [ i64 0, label %dict.of    i64 1, label %item      i64 2, label %present
                                     i64 3, label %size       i64 4, label %word      i64 5, label %bits
                                     i64 6, label %memory     i64 7, label %code      i64 8, label %defaults
                                     i64 9, label %keywords   i64 10, label %slot     i64 11, label %both ]
dict.of: ; the __dict__ of an object, which the comparisons after it read
  %made = call ptr @PyObject_GenericGetDict(ptr %a, ptr null)
  %no.dict = icmp eq ptr %made, null
  br i1 %no.dict, label %differs, label %held
held:
  call void @Py_DecRef(ptr %made)
  br label %holds
item: ; a name stands for an object, or for none
  %value = call ptr @PyDict_GetItemWithError(ptr %a, ptr %b)
  %is.value = icmp eq ptr %value, %c
  br i1 %is.value, label %holds, label %differs
present:
  %any = call ptr @PyDict_GetItemWithError(ptr %a, ptr %b)
  %is.present = icmp ne ptr %any, null
  br i1 %is.present, label %holds, label %differs
size:
  %length = call i64 @PyDict_Size(ptr %a)
  %is.length = icmp eq i64 %length, %d
  br i1 %is.length, label %holds, label %differs
word:
  %content = load ptr, ptr %field
  %is.content = icmp eq ptr %content, %c
  br i1 %is.content, label %holds, label %differs
bits: ; those of a mask `c`
  %flags = load i32, ptr %field
  %mask.word = ptrtoint ptr %c to i64
  %mask = trunc i64 %mask.word to i32
  %masked = and i32 %flags, %mask
  %expected = trunc i64 %d to i32
  %is.masked = icmp eq i32 %masked, %expected
  br i1 %is.masked, label %holds, label %differs
memory:
  %start = load ptr, ptr %field
  %order = call i32 @memcmp(ptr %start, ptr %c, i64 %d)
  %is.equal = icmp eq i32 %order, 0
  br i1 %is.equal, label %holds, label %differs
code:
  %code.now = call ptr @PyFunction_GetCode(ptr %a)
  %is.code = icmp eq ptr %code.now, %c
  br i1 %is.code, label %holds, label %differs
defaults:
  %defaults.now = call ptr @PyFunction_GetDefaults(ptr %a)
  %is.defaults = icmp eq ptr %defaults.now, %c
  br i1 %is.defaults, label %holds, label %differs
keywords:
  %keywords.now = call ptr @PyFunction_GetKwDefaults(ptr %a)
  %is.keywords = icmp eq ptr %keywords.now, %c
  br i1 %is.keywords, label %holds, label %differs
slot:
  %attribute = call ptr @PyObject_GetAttr(ptr %a, ptr %b)
  %no.attribute = icmp eq ptr %attribute, null
  br i1 %no.attribute, label %differs, label %slot.held
slot.held:
  call void @Py_DecRef(ptr %attribute)
  %is.attribute = icmp eq ptr %attribute, %c
  br i1 %is.attribute, label %holds, label %differs
both: ; the keys and values of a dict, in order
  %as.before = call i1 @same_entries(ptr %a, ptr %b, ptr %c, i64 %d)
  br i1 %as.before, label %holds, label %differs
holds:
  %dict.next = phi ptr [ %made, %held ], [ %dict, %item ], [ %dict, %present ], [ %dict, %size ], [ %dict, %word ],
                       [ %dict, %bits ], [ %dict, %memory ], [ %dict, %code ], [ %dict, %defaults ],
                       [ %dict, %keywords ], [ %dict, %slot.held ], [ %dict, %both ]
  %k.next = add i64 %k, 1
  br label %each

others: ; what only Python can compare
  %nothing = icmp eq ptr %rest, null
  br i1 %nothing, label %yes, label %ask
differs: ; an equal number may be another object: all is compared by Python
  call void @PyErr_Clear()
  br label %ask
ask:
  %question = phi ptr [ %rest, %others ], [ %all, %differs ]
  %answer = call ptr @PyObject_CallNoArgs(ptr %question)
  %no.answer = icmp eq ptr %answer, null
  br i1 %no.answer, label %no, label %answered
answered:
  call void @Py_DecRef(ptr %answer)
  %is.true = icmp eq ptr %answer, %true
  ret i1 %is.true
yes:
  ret i1 true
no:
  ret i1 false
}

define internal i1 @same_entries(ptr %dict, ptr %keys, ptr %values, i64 %size) nounwind {
  %position = alloca i64
  %key = alloca ptr
  %value = alloca ptr
  store i64 0, ptr %position
  %length = call i64 @PyDict_Size(ptr %dict)
  %is.length = icmp eq i64 %length, %size
  br i1 %is.length, label %each, label %no
each:
  %k = phi i64 [ 0, %0 ], [ %k.next, %alike ]
  %got = call i32 @PyDict_Next(ptr %dict, ptr %position, ptr %key, ptr %value)
  %end = icmp eq i32 %got, 0
  br i1 %end, label %yes, label %compare
compare:
  %key.now = load ptr, ptr %key
  %value.now = load ptr, ptr %value
  %key.at = getelementptr ptr, ptr %keys, i64 %k
  %value.at = getelementptr ptr, ptr %values, i64 %k
  %key.before = load ptr, ptr %key.at
  %value.before = load ptr, ptr %value.at
  %is.key = icmp eq ptr %key.now, %key.before
  %is.value = icmp eq ptr %value.now, %value.before
  %is = and i1 %is.key, %is.value
  br i1 %is, label %alike, label %no
alike:
  %k.next = add i64 %k, 1
  br label %each
yes:
  ret i1 true
no:
  ret i1 false
}

; ---- One entry: arguments, kernel, results ----

define internal ptr @enter(ptr %entry, ptr %args, ptr %not_implemented) noinline nounwind "probe-stack"="inline-asm" {
  %csr = alloca i32
  %kernel = load ptr, ptr %entry
  %count.at = getelementptr %Entry, ptr %entry, i64 0, i32 1
  %count = load i64, ptr %count.at
  %bytes.at = getelementptr %Entry, ptr %entry, i64 0, i32 2
  %bytes = load i64, ptr %bytes.at
  %flags.at = getelementptr %Entry, ptr %entry, i64 0, i32 3
  %flags = load i64, ptr %flags.at
  %number.at = getelementptr %Entry, ptr %entry, i64 0, i32 4
  %number = load i64, ptr %number.at
  %steps.at = getelementptr %Entry, ptr %entry, i64 0, i32 5
  %steps = load ptr, ptr %steps.at
  %size.at = getelementptr %Entry, ptr %entry, i64 0, i32 6
  %size = load i64, ptr %size.at
  %values = alloca ptr, i64 %size, align 16
  %data = alloca ptr, i64 %size, align 16
  %args.bytes = mul i64 %count, 8
  call void @llvm.memcpy.p0.p0.i64(ptr %values, ptr %args, i64 %args.bytes, i1 false)
  br label %each

each: ; of the steps through the arguments: what is in a container is a new value, what is traced has data
  %k = phi i64 [ 0, %0 ], [ %k.next, %taken ]
  %last = phi i64 [ %count, %0 ], [ %last.next, %taken ]
  %leaf = phi i64 [ 0, %0 ], [ %leaf.next, %taken ]
  %more = icmp ult i64 %k, %number
  br i1 %more, label %step, label %memory
step:
  %kind.at = getelementptr %Step, ptr %steps, i64 %k, i32 0
  %which.at = getelementptr %Step, ptr %steps, i64 %k, i32 1
  %type.at = getelementptr %Step, ptr %steps, i64 %k, i32 2
  %object.at = getelementptr %Step, ptr %steps, i64 %k, i32 3
  %n.at = getelementptr %Step, ptr %steps, i64 %k, i32 4
  %keys.at = getelementptr %Step, ptr %steps, i64 %k, i32 5
  %mask.at = getelementptr %Step, ptr %steps, i64 %k, i32 6
  %kind = load i64, ptr %kind.at
  %which = load i64, ptr %which.at
  %type = load ptr, ptr %type.at
  %object = load ptr, ptr %object.at
  %n = load i64, ptr %n.at
  %keys = load ptr, ptr %keys.at
  %mask = load i64, ptr %mask.at
  %value.at = getelementptr ptr, ptr %values, i64 %which
  %value = load ptr, ptr %value.at
  %value.type.at = getelementptr i8, ptr %value, i64 8
  %value.type = load ptr, ptr %value.type.at
  %is.type = icmp eq ptr %value.type, %type
  br i1 %is.type, label %typed, label %refuse
typed:
  %inside.at = getelementptr i8, ptr %value, i64 16
  %items.at = getelementptr i8, ptr %value, i64 24
  %children = getelementptr ptr, ptr %values, i64 %last
  %last.more = add i64 %last, %n
  %leaf.at = getelementptr ptr, ptr %data, i64 %leaf
  %leaf.more = add i64 %leaf, 1
  %children.bytes = mul i64 %n, 8
  switch i64 %kind, label %refuse [ i64 0, label %array  i64 1, label %scalar  i64 2, label %tuple  i64 3, label %list
                                    i64 4, label %dict   i64 5, label %fixed   i64 6, label %same ]
array:
  %ndim = load i32, ptr %items.at
  %expected.ndim = trunc i64 %n to i32
  %is.ndim = icmp eq i32 %ndim, %expected.ndim
  %dtype.at = getelementptr i8, ptr %value, i64 56
  %dtype = load ptr, ptr %dtype.at
  %is.dtype = icmp eq ptr %dtype, %object
  %array.flags.at = getelementptr i8, ptr %value, i64 64
  %array.flags = load i32, ptr %array.flags.at
  %mask.narrow = trunc i64 %mask to i32
  %masked = and i32 %array.flags, %mask.narrow
  %is.masked = icmp eq i32 %masked, %mask.narrow
  %form = and i1 %is.ndim, %is.dtype
  %form.all = and i1 %form, %is.masked
  br i1 %form.all, label %shape, label %refuse
shape:
  %lengths.at = getelementptr i8, ptr %value, i64 32
  %lengths = load ptr, ptr %lengths.at
  br label %axis
axis:
  %j = phi i64 [ 0, %shape ], [ %j.next, %axis.same ]
  %axes = icmp ult i64 %j, %n
  br i1 %axes, label %axis.compare, label %array.taken
axis.compare:
  %axis.at = getelementptr i64, ptr %lengths, i64 %j
  %axis.now = load i64, ptr %axis.at
  %axis.expected.at = getelementptr i64, ptr %keys, i64 %j
  %axis.expected = load i64, ptr %axis.expected.at
  %is.axis = icmp eq i64 %axis.now, %axis.expected
  br i1 %is.axis, label %axis.same, label %refuse
axis.same:
  %j.next = add i64 %j, 1
  br label %axis
array.taken:
  %array.data = load ptr, ptr %inside.at
  store ptr %array.data, ptr %leaf.at
  br label %taken
scalar:
  store ptr %inside.at, ptr %leaf.at
  br label %taken
tuple:
  %tuple.size = load i64, ptr %inside.at
  %is.tuple.size = icmp eq i64 %tuple.size, %n
  br i1 %is.tuple.size, label %tuple.items, label %refuse
tuple.items:
  call void @llvm.memcpy.p0.p0.i64(ptr %children, ptr %items.at, i64 %children.bytes, i1 false)
  br label %taken
list:
  %list.size = load i64, ptr %inside.at
  %is.list.size = icmp eq i64 %list.size, %n
  br i1 %is.list.size, label %list.items, label %refuse
list.items:
  %list.start = load ptr, ptr %items.at
  call void @llvm.memcpy.p0.p0.i64(ptr %children, ptr %list.start, i64 %children.bytes, i1 false)
  br label %taken
dict:
  %dict.size = call i64 @PyDict_Size(ptr %value)
  %is.dict.size = icmp eq i64 %dict.size, %n
  br i1 %is.dict.size, label %dict.each, label %refuse
dict.each:
  %m = phi i64 [ 0, %dict ], [ %m.next, %dict.got ]
  %dict.more = icmp ult i64 %m, %n
  br i1 %dict.more, label %dict.get, label %taken
dict.get:
  %dict.key.at = getelementptr ptr, ptr %keys, i64 %m
  %dict.key = load ptr, ptr %dict.key.at
  %dict.item = call ptr @PyDict_GetItemWithError(ptr %value, ptr %dict.key)
  %no.item = icmp eq ptr %dict.item, null
  br i1 %no.item, label %refuse, label %dict.got
dict.got:
  %dict.child = getelementptr ptr, ptr %children, i64 %m
  store ptr %dict.item, ptr %dict.child
  %m.next = add i64 %m, 1
  br label %dict.each
fixed:
  %is.fixed = icmp eq ptr %value, %object
  br i1 %is.fixed, label %taken, label %refuse
same:
  %is.same = call i32 @PyObject_RichCompareBool(ptr %value, ptr %object, i32 2)
  %equal = icmp eq i32 %is.same, 1
  br i1 %equal, label %taken, label %refuse
taken:
  %last.next = phi i64 [ %last, %array.taken ], [ %last, %scalar ], [ %last.more, %tuple.items ],
                       [ %last.more, %list.items ], [ %last.more, %dict.each ], [ %last, %fixed ], [ %last, %same ]
  %leaf.next = phi i64 [ %leaf.more, %array.taken ], [ %leaf.more, %scalar ], [ %leaf, %tuple.items ],
                       [ %leaf, %list.items ], [ %leaf, %dict.each ], [ %leaf, %fixed ], [ %leaf, %same ]
  %k.next = add i64 %k, 1
  br label %each

memory:
  %small = icmp ule i64 %bytes, 65536
  br i1 %small, label %on.stack, label %on.heap
on.stack:
  %stack = alloca i8, i64 %bytes, align 64
  br label %prepared
on.heap:
  %heap = call ptr @malloc(i64 %bytes)
  %no.heap = icmp eq ptr %heap, null
  br i1 %no.heap, label %refuse, label %prepared
prepared:
  %y = phi ptr [ %stack, %on.stack ], [ %heap, %on.heap ]
  %owned = phi ptr [ null, %on.stack ], [ %heap, %on.heap ]
  %releases.bit = and i64 %flags, 1
  %releases = icmp ne i64 %releases.bit, 0
  br i1 %releases, label %hold, label %locked

hold: ; other threads may take the values out of their containers
  %h = phi i64 [ 0, %prepared ], [ %h.next, %hold.one ]
  %h.more = icmp ult i64 %h, %last
  br i1 %h.more, label %hold.one, label %unlock
hold.one:
  %h.at = getelementptr ptr, ptr %values, i64 %h
  %h.value = load ptr, ptr %h.at
  call void @Py_IncRef(ptr %h.value)
  %h.next = add i64 %h, 1
  br label %hold
unlock:
  %thread = call ptr @PyEval_SaveThread()
  br label %compute
locked:
  br label %compute

compute: ; the processor's flags say what NumPy would have warned of
  %lock = phi ptr [ %thread, %unlock ], [ null, %locked ]
  call void asm sideeffect "stmxcsr $0", "=*m,~{memory}"(ptr elementtype(i32) %csr)
  %before = load i32, ptr %csr
  %cleared = and i32 %before, -64
  store i32 %cleared, ptr %csr
  call void asm sideeffect "ldmxcsr $0", "*m,~{memory}"(ptr elementtype(i32) %csr)
  %branch = call i32 %kernel(ptr %data, ptr %y)
  call void asm sideeffect "stmxcsr $0", "=*m,~{memory}"(ptr elementtype(i32) %csr)
  %after = load i32, ptr %csr
  br i1 %releases, label %relock, label %computed
relock:
  call void @PyEval_RestoreThread(ptr %lock)
  br label %drop
drop:
  %r = phi i64 [ 0, %relock ], [ %r.next, %drop.one ]
  %r.more = icmp ult i64 %r, %last
  br i1 %r.more, label %drop.one, label %computed
drop.one:
  %r.at = getelementptr ptr, ptr %values, i64 %r
  %r.value = load ptr, ptr %r.at
  call void @Py_DecRef(ptr %r.value)
  %r.next = add i64 %r, 1
  br label %drop
computed:
  %may.bit = and i64 %flags, 2
  %may.raise = icmp ne i64 %may.bit, 0
  br i1 %may.raise, label %raised, label %alarms
raised: ; SciPy's functions do, if the user asks them to
  %error = call ptr @PyErr_Occurred()
  %no.error = icmp eq ptr %error, null
  br i1 %no.error, label %alarms, label %unwell
alarms: ; invalid operation, division by zero, overflow
  %alarm.bits = and i32 %after, 13
  %calm = icmp eq i32 %alarm.bits, 0
  %ended = icmp sge i32 %branch, 0
  %well = and i1 %calm, %ended
  br i1 %well, label %results, label %unwell
results:
  %branches.at = getelementptr %Entry, ptr %entry, i64 0, i32 7
  %branches = load ptr, ptr %branches.at
  %depth.at = getelementptr %Entry, ptr %entry, i64 0, i32 9
  %depth = load i64, ptr %depth.at
  %branch.wide = zext i32 %branch to i64
  %branch.at = getelementptr %Branch, ptr %branches, i64 %branch.wide
  %result = call ptr @make(ptr %branch.at, ptr %y, i64 %depth, ptr %not_implemented)
  call void @free(ptr %owned)
  ret ptr %result
unwell:
  call void @free(ptr %owned)
  br label %refuse
refuse:
  call void @PyErr_Clear()
  ret ptr %not_implemented
}

; Make the result of a branch: what is made goes on a stack, what holds others takes them from there.
define internal ptr @make(ptr %branch, ptr %y, i64 %depth, ptr %not_implemented) noinline nounwind "probe-stack"="inline-asm" {
  %number = load i64, ptr %branch
  %makes.at = getelementptr %Branch, ptr %branch, i64 0, i32 1
  %makes = load ptr, ptr %makes.at
  %stack = alloca ptr, i64 %depth, align 16
  br label %check

check: ; a result that is not finite is computed in Python, which knows whether that is quiet
  %c = phi i64 [ 0, %0 ], [ %c.next, %finite ]
  %c.more = icmp ult i64 %c, %number
  br i1 %c.more, label %check.one, label %each
check.one:
  %c.offset.at = getelementptr %Make, ptr %makes, i64 %c, i32 1
  %c.offset = load i64, ptr %c.offset.at
  %c.count.at = getelementptr %Make, ptr %makes, i64 %c, i32 6
  %c.count = load i64, ptr %c.count.at
  %c.data = getelementptr i8, ptr %y, i64 %c.offset
  br label %numbers
numbers:
  %i = phi i64 [ 0, %check.one ], [ %i.next, %is.finite ]
  %i.more = icmp ult i64 %i, %c.count
  br i1 %i.more, label %one, label %finite
one:
  %one.at = getelementptr double, ptr %c.data, i64 %i
  %one.value = load double, ptr %one.at
  %one.size = call double @llvm.fabs.f64(double %one.value)
  %one.finite = fcmp olt double %one.size, 0x7FF0000000000000
  br i1 %one.finite, label %is.finite, label %infinite
is.finite:
  %i.next = add i64 %i, 1
  br label %numbers
finite:
  %c.next = add i64 %c, 1
  br label %check
infinite:
  ret ptr %not_implemented

each:
  %k = phi i64 [ 0, %check ], [ %k.next, %push ]
  %top = phi i64 [ 0, %check ], [ %top.next, %push ]
  %more = icmp ult i64 %k, %number
  br i1 %more, label %step, label %end
end:
  %result = load ptr, ptr %stack
  ret ptr %result
step:
  %kind.at = getelementptr %Make, ptr %makes, i64 %k, i32 0
  %offset.at = getelementptr %Make, ptr %makes, i64 %k, i32 1
  %object.at = getelementptr %Make, ptr %makes, i64 %k, i32 2
  %n.at = getelementptr %Make, ptr %makes, i64 %k, i32 3
  %keys.at = getelementptr %Make, ptr %makes, i64 %k, i32 4
  %bytes.at = getelementptr %Make, ptr %makes, i64 %k, i32 5
  %kind = load i64, ptr %kind.at
  %offset = load i64, ptr %offset.at
  %object = load ptr, ptr %object.at
  %n = load i64, ptr %n.at
  %keys = load ptr, ptr %keys.at
  %bytes = load i64, ptr %bytes.at
  %data = getelementptr i8, ptr %y, i64 %offset
  %first = sub i64 %top, %n
  switch i64 %kind, label %other [ i64 0, label %array  i64 1, label %float  i64 2, label %scalar  i64 3, label %other
                                   i64 4, label %tuple  i64 5, label %list   i64 6, label %dict    i64 7, label %python ]
array:
  call void @Py_IncRef(ptr %object) ; the reference to the dtype is taken over
  %ndim = trunc i64 %n to i32
  %type.at = getelementptr %Make, ptr %makes, i64 %k, i32 7
  %type = load ptr, ptr %type.at
  %new.array = call ptr @PyArray_NewFromDescr(ptr %type, ptr %object, i32 %ndim, ptr %keys, ptr null, ptr null, i32 0, ptr null)
  %no.array = icmp eq ptr %new.array, null
  br i1 %no.array, label %fail, label %fill
fill:
  %target.at = getelementptr i8, ptr %new.array, i64 16
  %target = load ptr, ptr %target.at
  call void @llvm.memcpy.p0.p0.i64(ptr %target, ptr %data, i64 %bytes, i1 false)
  br label %push
float:
  %number.value = load double, ptr %data
  %new.float = call ptr @PyFloat_FromDouble(double %number.value)
  br label %push
scalar:
  %new.scalar = call ptr @PyArray_Scalar(ptr %data, ptr %object, ptr null)
  br label %push
other:
  call void @Py_IncRef(ptr %object)
  br label %push
tuple:
  %new.tuple = call ptr @PyTuple_New(i64 %n)
  %no.tuple = icmp eq ptr %new.tuple, null
  br i1 %no.tuple, label %fail, label %tuple.each
tuple.each:
  %t = phi i64 [ 0, %tuple ], [ %t.next, %tuple.item ]
  %t.more = icmp ult i64 %t, %n
  br i1 %t.more, label %tuple.item, label %push
tuple.item:
  %t.from = add i64 %first, %t
  %t.at = getelementptr ptr, ptr %stack, i64 %t.from
  %t.value = load ptr, ptr %t.at
  %t.set = call i32 @PyTuple_SetItem(ptr %new.tuple, i64 %t, ptr %t.value)
  %t.next = add i64 %t, 1
  br label %tuple.each
list:
  %new.list = call ptr @PyList_New(i64 %n)
  %no.list = icmp eq ptr %new.list, null
  br i1 %no.list, label %fail, label %list.each
list.each:
  %l = phi i64 [ 0, %list ], [ %l.next, %list.item ]
  %l.more = icmp ult i64 %l, %n
  br i1 %l.more, label %list.item, label %push
list.item:
  %l.from = add i64 %first, %l
  %l.at = getelementptr ptr, ptr %stack, i64 %l.from
  %l.value = load ptr, ptr %l.at
  %l.set = call i32 @PyList_SetItem(ptr %new.list, i64 %l, ptr %l.value)
  %l.next = add i64 %l, 1
  br label %list.each
dict:
  %new.dict = call ptr @PyDict_New()
  %no.dict = icmp eq ptr %new.dict, null
  br i1 %no.dict, label %fail, label %dict.each
dict.each:
  %d = phi i64 [ 0, %dict ], [ %d.next, %dict.done ]
  %d.failed = phi i32 [ 0, %dict ], [ %d.any, %dict.done ]
  %d.more = icmp ult i64 %d, %n
  br i1 %d.more, label %dict.item, label %dict.end
dict.item:
  %d.key.at = getelementptr ptr, ptr %keys, i64 %d
  %d.key = load ptr, ptr %d.key.at
  %d.from = add i64 %first, %d
  %d.at = getelementptr ptr, ptr %stack, i64 %d.from
  %d.value = load ptr, ptr %d.at
  %d.set = call i32 @PyDict_SetItem(ptr %new.dict, ptr %d.key, ptr %d.value)
  br label %dict.done
dict.done:
  call void @Py_DecRef(ptr %d.value)
  %d.any = or i32 %d.failed, %d.set
  %d.next = add i64 %d, 1
  br label %dict.each
dict.end:
  %d.well = icmp eq i32 %d.failed, 0
  br i1 %d.well, label %push, label %dict.fail
dict.fail:
  call void @Py_DecRef(ptr %new.dict)
  br label %push
python: ; a tree of other types, by a function of its leaves
  %leaves.from = sub i64 %top, 1
  %leaves.at = getelementptr ptr, ptr %stack, i64 %leaves.from
  %leaves = load ptr, ptr %leaves.at
  %new.tree = call ptr @PyObject_CallOneArg(ptr %object, ptr %leaves)
  call void @Py_DecRef(ptr %leaves)
  br label %push
push:
  %made = phi ptr [ %new.array, %fill ], [ %new.float, %float ], [ %new.scalar, %scalar ], [ %object, %other ],
                  [ %new.tuple, %tuple.each ], [ %new.list, %list.each ], [ %new.dict, %dict.end ],
                  [ null, %dict.fail ], [ %new.tree, %python ]
  %place = phi i64 [ %top, %fill ], [ %top, %float ], [ %top, %scalar ], [ %top, %other ],
                   [ %first, %tuple.each ], [ %first, %list.each ], [ %first, %dict.end ],
                   [ %first, %dict.fail ], [ %leaves.from, %python ]
  %place.at = getelementptr ptr, ptr %stack, i64 %place
  store ptr %made, ptr %place.at
  %top.next = add i64 %place, 1
  %k.next = add i64 %k, 1
  %failed = icmp eq ptr %made, null
  br i1 %failed, label %fail.at, label %each
fail.at:
  br label %unwind
fail: ; the items are still on the stack
  br label %unwind
unwind:
  %height = phi i64 [ %place, %fail.at ], [ %top, %fail ]
  br label %drop
drop:
  %u = phi i64 [ 0, %unwind ], [ %u.next, %drop.one ]
  %u.more = icmp ult i64 %u, %height
  br i1 %u.more, label %drop.one, label %failed.all
drop.one:
  %u.at = getelementptr ptr, ptr %stack, i64 %u
  %u.value = load ptr, ptr %u.at
  call void @Py_DecRef(ptr %u.value)
  %u.next = add i64 %u, 1
  br label %drop
failed.all:
  ret ptr null
}

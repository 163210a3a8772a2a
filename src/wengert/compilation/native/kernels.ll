; The function that CPython calls for a kernel of arrays (METH_FASTCALL): one for all kernels.
;
; `self` is a capsule around a record, words of eight bytes that `kernels.py` lays out.  The arguments are compared with
; what the kernel was made for, the result arrays and the arena are made, the sequence runs, and the processor's flags
; say whether NumPy would have warned: then FloatingPointError is raised.  For other arguments the result is
; NotImplemented.
;
; Offsets in objects: 8 type, 16 value of a float / pointer of a capsule / data of an array, 24 ndim, 32 shape, 40 strides,
; 56 dtype, 64 flags.

%Record = type { i64, i64, i64, i64, ptr, ptr, ptr, ptr, ptr, ptr, ptr, ptr, ptr }
; number of arguments, of results, bytes of the arena, flags (1: releases the lock, 2: may raise), sequence, float,
; np.float64, np.ndarray, FloatingPointError, NotImplemented, operands, results, commands
%Operand = type { i64, ptr, i64, ptr, ptr }
; 1 for an array, its dtype (of a scalar, its type), ndim, shape, strides
%Result = type { i64, ptr, i64, ptr, ptr }
; 2 for an array, 1 for a float, 0 for a scalar of NumPy's; dtype, ndim, shape, nothing

declare void @Py_IncRef(ptr)
declare void @Py_DecRef(ptr)
declare void @PyErr_Clear()
declare ptr @PyErr_Occurred()
declare ptr @PyErr_NoMemory()
declare void @PyErr_SetNone(ptr)
declare ptr @PyEval_SaveThread()
declare void @PyEval_RestoreThread(ptr)
declare ptr @PyFloat_FromDouble(double)
declare ptr @PyTuple_New(i64)
declare i32 @PyTuple_SetItem(ptr, i64, ptr)
declare ptr @PyArray_NewFromDescr(ptr, ptr, i32, ptr, ptr, ptr, i32, ptr)
declare ptr @PyArray_Scalar(ptr, ptr, ptr)
declare ptr @malloc(i64)
declare i32 @madvise(ptr, i64, i32)
declare void @free(ptr)

define ptr @entry(ptr %self, ptr %args, i64 %count) nounwind "probe-stack"="inline-asm" {
  %table = alloca [1024 x ptr], align 16
  %slots = alloca [512 x [2 x double]], align 64
  %csr = alloca i32
  %record.at = getelementptr i8, ptr %self, i64 16
  %record = load ptr, ptr %record.at
  %expected = load i64, ptr %record
  %fits = icmp eq i64 %expected, %count
  br i1 %fits, label %arguments, label %miss

arguments:
  %operands.at = getelementptr %Record, ptr %record, i64 0, i32 10
  %operands = load ptr, ptr %operands.at
  br label %argument
argument:
  %k = phi i64 [ 0, %arguments ], [ %k.next, %taken ]
  %k.more = icmp ult i64 %k, %count
  br i1 %k.more, label %take, label %results
take:
  %operand = getelementptr %Operand, ptr %operands, i64 %k
  %value.at = getelementptr ptr, ptr %args, i64 %k
  %value = load ptr, ptr %value.at
  %data = call ptr @data_of(ptr %record, ptr %operand, ptr %value)
  %none = icmp eq ptr %data, null
  br i1 %none, label %miss, label %taken
taken:
  %data.to = getelementptr ptr, ptr %table, i64 %k
  store ptr %data, ptr %data.to
  %k.next = add i64 %k, 1
  br label %argument

results:
  %number.at = getelementptr %Record, ptr %record, i64 0, i32 1
  %number = load i64, ptr %number.at
  %made = call ptr @PyTuple_New(i64 %number)
  %failed = icmp eq ptr %made, null
  br i1 %failed, label %end.null, label %results.all
results.all:
  %results.at = getelementptr %Record, ptr %record, i64 0, i32 11
  %results.list = load ptr, ptr %results.at
  %ndarray.at = getelementptr %Record, ptr %record, i64 0, i32 7
  %ndarray = load ptr, ptr %ndarray.at
  br label %result
result:
  %r = phi i64 [ 0, %results.all ], [ %r.next, %passed ]
  %r.more = icmp ult i64 %r, %number
  br i1 %r.more, label %make, label %work
make:
  %form = getelementptr %Result, ptr %results.list, i64 %r
  %kind = load i64, ptr %form
  %dtype.at = getelementptr %Result, ptr %form, i64 0, i32 1
  %dtype = load ptr, ptr %dtype.at
  %slot = getelementptr [2 x double], ptr %slots, i64 %r
  %is.array = icmp eq i64 %kind, 2
  br i1 %is.array, label %array, label %passed
array:
  %ndim.at = getelementptr %Result, ptr %form, i64 0, i32 2
  %ndim = load i64, ptr %ndim.at
  %ndim.int = trunc i64 %ndim to i32
  %shape.at = getelementptr %Result, ptr %form, i64 0, i32 3
  %shape = load ptr, ptr %shape.at
  call void @Py_IncRef(ptr %dtype)
  %new = call ptr @PyArray_NewFromDescr(ptr %ndarray, ptr %dtype, i32 %ndim.int, ptr %shape, ptr null, ptr null, i32 0, ptr null)
  %no.array = icmp eq ptr %new, null
  br i1 %no.array, label %end.drop, label %array.made
array.made:
  call i32 @PyTuple_SetItem(ptr %made, i64 %r, ptr %new)
  %new.data.at = getelementptr i8, ptr %new, i64 16
  %new.data = load ptr, ptr %new.data.at
  br label %passed
passed:
  %memory = phi ptr [ %slot, %make ], [ %new.data, %array.made ]
  %place = add i64 %r, %count
  %memory.to = getelementptr ptr, ptr %table, i64 %place
  store ptr %memory, ptr %memory.to
  %r.next = add i64 %r, 1
  br label %result

work:
  %bytes.at = getelementptr %Record, ptr %record, i64 0, i32 2
  %bytes = load i64, ptr %bytes.at
  %needs.none = icmp eq i64 %bytes, 0
  br i1 %needs.none, label %run, label %allocate
allocate:
  %bytes.more = add i64 %bytes, 64
  %heap = call ptr @malloc(i64 %bytes.more)
  %no.heap = icmp eq ptr %heap, null
  br i1 %no.heap, label %exhausted, label %aligned
exhausted:
  %ignored = call ptr @PyErr_NoMemory()
  br label %end.drop
aligned:
  %heap.number = ptrtoint ptr %heap to i64
  %is.large = icmp uge i64 %bytes, 4194304
  br i1 %is.large, label %advise, label %advised
advise: ; MADV_HUGEPAGE, as NumPy does from this size on: else half of the time goes into page faults
  %pages.after = add i64 %heap.number, 4095
  %pages.number = and i64 %pages.after, -4096
  %pages = inttoptr i64 %pages.number to ptr
  %pages.bytes = sub i64 %bytes, 4096
  %not.advised = call i32 @madvise(ptr %pages, i64 %pages.bytes, i32 14)
  br label %advised
advised:
  %heap.next = add i64 %heap.number, 63
  %heap.aligned = and i64 %heap.next, -64
  %arena = inttoptr i64 %heap.aligned to ptr
  %arena.place = add i64 %count, %number
  %arena.to = getelementptr ptr, ptr %table, i64 %arena.place
  store ptr %arena, ptr %arena.to
  br label %run

run:
  %to.free = phi ptr [ null, %work ], [ %heap, %advised ]
  %kernel.at = getelementptr %Record, ptr %record, i64 0, i32 4
  %kernel = load ptr, ptr %kernel.at
  %commands.at = getelementptr %Record, ptr %record, i64 0, i32 12
  %commands = load ptr, ptr %commands.at
  %flags.at = getelementptr %Record, ptr %record, i64 0, i32 3
  %flags = load i64, ptr %flags.at
  %releases = and i64 %flags, 1
  %holds = icmp eq i64 %releases, 0
  br i1 %holds, label %alone, label %release
release:
  %thread.saved = call ptr @PyEval_SaveThread()
  br label %alone
alone:
  %thread = phi ptr [ null, %run ], [ %thread.saved, %release ]
  call void asm sideeffect "stmxcsr $0", "=*m,~{memory}"(ptr elementtype(i32) %csr)
  %before = load i32, ptr %csr
  %cleared = and i32 %before, -64
  store i32 %cleared, ptr %csr
  call void asm sideeffect "ldmxcsr $0", "*m,~{memory}"(ptr elementtype(i32) %csr)
  %reason = call i32 %kernel(ptr %table, ptr %commands)
  call void asm sideeffect "stmxcsr $0", "=*m,~{memory}"(ptr elementtype(i32) %csr)
  %after = load i32, ptr %csr
  br i1 %holds, label %ran, label %restore
restore:
  call void @PyEval_RestoreThread(ptr %thread)
  br label %ran
ran:
  %no.work = icmp eq ptr %to.free, null
  br i1 %no.work, label %look, label %give
give:
  call void @free(ptr %to.free)
  br label %look
look:
  %alarms = and i32 %after, 13 ; invalid operation, division by zero, overflow
  %is.quiet = icmp eq i32 %alarms, 0
  %raising = and i64 %flags, 2
  %never = icmp eq i64 %raising, 0
  br i1 %never, label %judge, label %ask
ask: ; SciPy's functions may raise, if the user asks them to
  %raised = call ptr @PyErr_Occurred()
  call void @PyErr_Clear()
  %has.raised = icmp ne ptr %raised, null
  br i1 %has.raised, label %alarm, label %judge
judge:
  br i1 %is.quiet, label %scalars, label %alarm
alarm:
  %error.at = getelementptr %Record, ptr %record, i64 0, i32 8
  %error = load ptr, ptr %error.at
  call void @PyErr_SetNone(ptr %error)
  br label %end.drop

scalars:
  %s = phi i64 [ 0, %judge ], [ %s.next, %scalar.next ]
  %s.more = icmp ult i64 %s, %number
  br i1 %s.more, label %scalar, label %end
scalar:
  %s.form = getelementptr %Result, ptr %results.list, i64 %s
  %s.kind = load i64, ptr %s.form
  %s.slot = getelementptr [2 x double], ptr %slots, i64 %s
  switch i64 %s.kind, label %scalar.next [ i64 1, label %float
                                           i64 0, label %numpy ]
float:
  %number.read = load double, ptr %s.slot
  %float.made = call ptr @PyFloat_FromDouble(double %number.read)
  br label %scalar.made
numpy:
  %s.dtype.at = getelementptr %Result, ptr %s.form, i64 0, i32 1
  %s.dtype = load ptr, ptr %s.dtype.at
  %numpy.made = call ptr @PyArray_Scalar(ptr %s.slot, ptr %s.dtype, ptr null)
  br label %scalar.made
scalar.made:
  %one = phi ptr [ %float.made, %float ], [ %numpy.made, %numpy ]
  %no.scalar = icmp eq ptr %one, null
  br i1 %no.scalar, label %end.drop, label %scalar.set
scalar.set:
  call i32 @PyTuple_SetItem(ptr %made, i64 %s, ptr %one)
  br label %scalar.next
scalar.next:
  %s.next = add i64 %s, 1
  br label %scalars

end:
  ret ptr %made
end.drop:
  call void @Py_DecRef(ptr %made)
  ret ptr null
end.null:
  ret ptr null
miss:
  %not.at = getelementptr %Record, ptr %record, i64 0, i32 9
  %not = load ptr, ptr %not.at
  call void @Py_IncRef(ptr %not)
  ret ptr %not
}

; Return where the data of an argument are; null where it is not what the kernel was made for.
define internal ptr @data_of(ptr %record, ptr %operand, ptr %value) nounwind {
  %type.at = getelementptr i8, ptr %value, i64 8
  %type = load ptr, ptr %type.at
  %content.at = getelementptr i8, ptr %value, i64 16
  %kind = load i64, ptr %operand
  %is.array = icmp ne i64 %kind, 0
  br i1 %is.array, label %array, label %number
number:
  %float.at = getelementptr %Record, ptr %record, i64 0, i32 5
  %float = load ptr, ptr %float.at
  %float64.at = getelementptr %Record, ptr %record, i64 0, i32 6
  %float64 = load ptr, ptr %float64.at
  %type.due.at = getelementptr %Operand, ptr %operand, i64 0, i32 1
  %type.due = load ptr, ptr %type.due.at
  %is.float = icmp eq ptr %type, %float
  %is.due = icmp eq ptr %type, %type.due
  %takes.float = icmp eq ptr %type.due, %float64
  %is.double = and i1 %is.float, %takes.float
  %is.number = or i1 %is.due, %is.double
  br i1 %is.number, label %content, label %miss
content:
  ret ptr %content.at
array:
  %ndarray.at = getelementptr %Record, ptr %record, i64 0, i32 7
  %ndarray = load ptr, ptr %ndarray.at
  %is.ndarray = icmp eq ptr %type, %ndarray
  br i1 %is.ndarray, label %fields, label %miss
fields:
  %dtype.at = getelementptr i8, ptr %value, i64 56
  %dtype = load ptr, ptr %dtype.at
  %dtype.due.at = getelementptr %Operand, ptr %operand, i64 0, i32 1
  %dtype.due = load ptr, ptr %dtype.due.at
  %same.dtype = icmp eq ptr %dtype, %dtype.due
  %ndim.at = getelementptr i8, ptr %value, i64 24
  %ndim.int = load i32, ptr %ndim.at
  %ndim = zext i32 %ndim.int to i64
  %ndim.due.at = getelementptr %Operand, ptr %operand, i64 0, i32 2
  %ndim.due = load i64, ptr %ndim.due.at
  %same.ndim = icmp eq i64 %ndim, %ndim.due
  %flags.at = getelementptr i8, ptr %value, i64 64
  %flags = load i32, ptr %flags.at
  %aligned = and i32 %flags, 256
  %is.aligned = icmp ne i32 %aligned, 0
  %two = and i1 %same.dtype, %same.ndim
  %all = and i1 %two, %is.aligned
  br i1 %all, label %axes, label %miss
axes:
  %lengths.at = getelementptr i8, ptr %value, i64 32
  %lengths = load ptr, ptr %lengths.at
  %strides.at = getelementptr i8, ptr %value, i64 40
  %strides = load ptr, ptr %strides.at
  %lengths.due.at = getelementptr %Operand, ptr %operand, i64 0, i32 3
  %lengths.due = load ptr, ptr %lengths.due.at
  %strides.due.at = getelementptr %Operand, ptr %operand, i64 0, i32 4
  %strides.due = load ptr, ptr %strides.due.at
  br label %axis
axis:
  %k = phi i64 [ 0, %axes ], [ %k.next, %next ]
  %more = icmp ult i64 %k, %ndim
  br i1 %more, label %compare, label %data
compare:
  %length.at = getelementptr i64, ptr %lengths, i64 %k
  %length = load i64, ptr %length.at
  %length.due.at = getelementptr i64, ptr %lengths.due, i64 %k
  %length.due = load i64, ptr %length.due.at
  %same.length = icmp eq i64 %length, %length.due
  br i1 %same.length, label %step, label %miss
step:
  %stride.at = getelementptr i64, ptr %strides, i64 %k
  %stride = load i64, ptr %stride.at
  %stride.due.at = getelementptr i64, ptr %strides.due, i64 %k
  %stride.due = load i64, ptr %stride.due.at
  %same.stride = icmp eq i64 %stride, %stride.due
  %is.short = icmp eq i64 %length, 1
  %fits = or i1 %same.stride, %is.short
  br i1 %fits, label %next, label %miss
next:
  %k.next = add i64 %k, 1
  br label %axis
data:
  %start = load ptr, ptr %content.at
  ret ptr %start
miss:
  ret ptr null
}

; Products of matrices as kernels: BLAS is called with numbers that lie among the extents, for each product of a batch.
; BLAS takes matrices by columns, numbers of 32 bits and letters by address: the lower bytes of words.

declare void @dgemm(ptr, ptr, ptr, ptr, ptr, ptr, ptr, ptr, ptr, ptr, ptr, ptr, ptr)
declare void @dgemv(ptr, ptr, ptr, ptr, ptr, ptr, ptr, ptr, ptr, ptr, ptr)

; Extents: two letters for the transposes, rows, columns, terms, 1.0, two leading dimensions, 0.0, that of the result; the
; number of products, and the bytes from one to the next in both operands and in the result.
define i32 @wengert_gemm(ptr %table, ptr %e) nounwind {
  %e.1 = getelementptr i64, ptr %e, i64 1
  %e.2 = getelementptr i64, ptr %e, i64 2
  %e.3 = getelementptr i64, ptr %e, i64 3
  %e.4 = getelementptr i64, ptr %e, i64 4
  %e.5 = getelementptr i64, ptr %e, i64 5
  %e.6 = getelementptr i64, ptr %e, i64 6
  %e.7 = getelementptr i64, ptr %e, i64 7
  %e.8 = getelementptr i64, ptr %e, i64 8
  %e.9 = getelementptr i64, ptr %e, i64 9
  %batch.at = getelementptr i64, ptr %e, i64 10
  %batch = load i64, ptr %batch.at
  %a = load ptr, ptr %table
  %b.at = getelementptr ptr, ptr %table, i64 1
  %b = load ptr, ptr %b.at
  %c.at = getelementptr ptr, ptr %table, i64 2
  %c = load ptr, ptr %c.at
  %a.step.at = getelementptr i64, ptr %e, i64 11
  %a.step = load i64, ptr %a.step.at
  %b.step.at = getelementptr i64, ptr %e, i64 12
  %b.step = load i64, ptr %b.step.at
  %c.step.at = getelementptr i64, ptr %e, i64 13
  %c.step = load i64, ptr %c.step.at
  br label %product
product:
  %k = phi i64 [ 0, %0 ], [ %k.next, %product ]
  %a.k = phi ptr [ %a, %0 ], [ %a.next, %product ]
  %b.k = phi ptr [ %b, %0 ], [ %b.next, %product ]
  %c.k = phi ptr [ %c, %0 ], [ %c.next, %product ]
  call void @dgemm(ptr %e, ptr %e.1, ptr %e.2, ptr %e.3, ptr %e.4, ptr %e.5, ptr %a.k, ptr %e.6, ptr %b.k, ptr %e.7, ptr %e.8, ptr %c.k, ptr %e.9)
  %a.next = getelementptr i8, ptr %a.k, i64 %a.step
  %b.next = getelementptr i8, ptr %b.k, i64 %b.step
  %c.next = getelementptr i8, ptr %c.k, i64 %c.step
  %k.next = add i64 %k, 1
  %more = icmp ult i64 %k.next, %batch
  br i1 %more, label %product, label %end
end:
  ret i32 0
}

; Extents: a letter for the transpose, rows, columns, 1.0, the leading dimension, the stride of the vector, 0.0, that of the
; result; the number of products, and the bytes from one to the next in matrix, vector and result.
define i32 @wengert_gemv(ptr %table, ptr %e) nounwind {
  %e.1 = getelementptr i64, ptr %e, i64 1
  %e.2 = getelementptr i64, ptr %e, i64 2
  %e.3 = getelementptr i64, ptr %e, i64 3
  %e.4 = getelementptr i64, ptr %e, i64 4
  %e.5 = getelementptr i64, ptr %e, i64 5
  %e.6 = getelementptr i64, ptr %e, i64 6
  %e.7 = getelementptr i64, ptr %e, i64 7
  %batch.at = getelementptr i64, ptr %e, i64 8
  %batch = load i64, ptr %batch.at
  %a = load ptr, ptr %table
  %x.at = getelementptr ptr, ptr %table, i64 1
  %x = load ptr, ptr %x.at
  %y.at = getelementptr ptr, ptr %table, i64 2
  %y = load ptr, ptr %y.at
  %a.step.at = getelementptr i64, ptr %e, i64 9
  %a.step = load i64, ptr %a.step.at
  %x.step.at = getelementptr i64, ptr %e, i64 10
  %x.step = load i64, ptr %x.step.at
  %y.step.at = getelementptr i64, ptr %e, i64 11
  %y.step = load i64, ptr %y.step.at
  br label %product
product:
  %k = phi i64 [ 0, %0 ], [ %k.next, %product ]
  %a.k = phi ptr [ %a, %0 ], [ %a.next, %product ]
  %x.k = phi ptr [ %x, %0 ], [ %x.next, %product ]
  %y.k = phi ptr [ %y, %0 ], [ %y.next, %product ]
  call void @dgemv(ptr %e, ptr %e.1, ptr %e.2, ptr %e.3, ptr %a.k, ptr %e.4, ptr %x.k, ptr %e.5, ptr %e.6, ptr %y.k, ptr %e.7)
  %a.next = getelementptr i8, ptr %a.k, i64 %a.step
  %x.next = getelementptr i8, ptr %x.k, i64 %x.step
  %y.next = getelementptr i8, ptr %y.k, i64 %y.step
  %k.next = add i64 %k, 1
  %more = icmp ult i64 %k.next, %batch
  br i1 %more, label %product, label %end
end:
  ret i32 0
}

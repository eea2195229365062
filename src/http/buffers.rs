//! The buffers of a connection for ureq.

use std::ops::Range;

use ureq::unversioned::transport::Buffers;

/// Like ureq's `LazyBuffers`, which write zeros to the whole of a buffer, but allocated as zeros: only the pages that are
/// used take memory.
pub struct SparseBuffers {
    input: Vec<u8>,
    /// The part of the input that is not consumed yet.
    unconsumed: Range<usize>,
    output: Vec<u8>,
    /// Whether the last call of `input_consume` consumed anything.
    has_progressed: bool,
}

impl SparseBuffers {
    /// Buffers of these sizes in bytes.
    pub fn new(input_size: usize, output_size: usize) -> SparseBuffers {
        SparseBuffers {
            input: vec![0; input_size],
            unconsumed: 0..0,
            output: vec![0; output_size],
            has_progressed: false,
        }
    }
}

impl Buffers for SparseBuffers {
    fn output(&mut self) -> &mut [u8] {
        &mut self.output
    }

    fn input(&self) -> &[u8] {
        &self.input[self.unconsumed.clone()]
    }

    fn input_append_buf(&mut self) -> &mut [u8] {
        // The first pages are used again, before others are.
        self.input.copy_within(self.unconsumed.clone(), 0);
        self.unconsumed = 0..self.unconsumed.len();
        &mut self.input[self.unconsumed.end..]
    }

    fn input_appended(&mut self, amount: usize) {
        self.unconsumed.end += amount;
    }

    fn input_consume(&mut self, amount: usize) {
        self.has_progressed = amount > 0;
        self.unconsumed.start += amount;
    }

    /// The scratch buffer is the free part of the input: a request is sent when no response is expected.
    fn tmp_and_output(&mut self) -> (&mut [u8], &mut [u8]) {
        (&mut self.input[self.unconsumed.end..], &mut self.output)
    }

    fn can_use_input(&self) -> bool {
        !self.unconsumed.is_empty() && self.has_progressed
    }
}

#pragma once
// SPDX-License-Identifier: Apache-2.0
// ptq: a trained network in, a calibrated 8-bit network out, run by its own executor. The pipeline in order:

#include <ptq/import.hpp>     // model file → graph                        import_model
#include <ptq/fold.hpp>       // constants and batch-norm into weights     fold
#include <ptq/fuse.hpp>       // conv+relu, layer-norm … become one node   fuse
#include <ptq/calibrate.hpp>  // graph + samples → statistics              calibrate
#include <ptq/quantize.hpp>   // graph + statistics → quantized graph      quantize
#include <ptq/lower.hpp>      // graph → program                           lower
#include <ptq/save.hpp>       // program ↔ file                           save_program, load_program
#include <ptq/execute.hpp>    // program + inputs → outputs                session, runner
#include <ptq/validate.hpp>   // accuracy, and the error value by value    classify, compare
#include <ptq/accuracy_control.hpp>  // float again where it pays  quantize_with_accuracy_control
#include <ptq/faster_float.hpp>  // float where it is faster               layers_faster_in_float
#include <ptq/attribute.hpp>  // which rounding of which layer costs what    attribute
#include <ptq/export.hpp>     // quantized graph → Q/DQ ONNX               export_model
#include <ptq/report.hpp>     // what was done, at what cost               report

#include <ptq/data/npy.hpp>        // samples from .npy
#include <ptq/data/records.hpp>    // samples from raw records
#include <ptq/kernels/reference.hpp>  // the scalar specification          reference_kernels
#include <ptq/native.hpp>          // the fast kernels, headers only       native_kernels

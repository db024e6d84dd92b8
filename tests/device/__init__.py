"""What reading and a simulated GPU found before any GPU ran mpr, and the test of each.

1. What torch only holds counted as used memory, so a second refresh found no room: `test_device.py::test_search`.
2. After `tf32: true` a receipt could not be written:
   `runtime/test_environment.py::test_a_snapshot_of_any_precision_setting`.
3. The first pass of a search asked for what torch has since 2.8: `test_device.py::test_search`.
4. 16-bit vectors went to a device as 32 bits: `test_device.py::test_search`. Each start measured a store anew:
   `search/test_measured.py`.
5. Some processes waited in a collective, which gives up, while others prepared:
   `runtime/test_processes.py::test_all_wait_for_all_by_the_store`.
6. A group of similar length had a processor's price on every device:
   `models/test_lengths.py::test_the_price_of_a_group_is_that_of_the_device`.
7. A step waited for the device dozens of times: `test_device.py::test_steps`,
   `training/test_finite.py::test_all_numbers_of_an_update_are_read_in_one_look`.
8. `benchmarks/gpu.py` wrote its page after the last part:
   `test_gpu_script.py::test_the_page_is_written_after_each_part`.
9. Under DeepSpeed a loss was looked at after the weights had changed:
   `training/test_finite.py::test_deepspeed_steps_in_the_backward_pass_so_the_loss_is_looked_at_before`.

All but `test_device.py` lie in tests/unit. Each was seen to fail without the repair, but for 1, the first of 4 and
`test_steps` of 7, where this was not tried to the end.
"""

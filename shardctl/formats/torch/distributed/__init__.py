"""What torch's files say of tensors that several processes hold in parts."""

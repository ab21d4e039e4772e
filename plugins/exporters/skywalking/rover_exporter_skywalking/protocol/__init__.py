"""Messages and services of SkyWalking, from the .proto files beside this one; `*_pb2` is made when Rover is built."""
